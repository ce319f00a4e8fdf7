"""Classes of words, such as parts of speech: coarse classes of tags, and classes by closed lists of English words."""

import re
from collections.abc import Callable, Mapping

from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.tsv import Tsv
from ssl_jax.errors import UserError

OTHER = "other word"
_LISTS = {
    "determiner": "the a an this these those each every some any no another both either neither all",
    "preposition": "of in on at by for with from into onto about over under between through during before after "
    "against among within without upon towards toward across along around behind beside beyond per via",
    "pronoun": "i you he she it we they me him her us them my your his its our their who whom whose which what "
    "itself themselves himself herself myself yourself something anything nothing",
    "auxiliary": "be is are was were been being am do does did has have had can could will would shall should may "
    "might must cannot",
    "conjunction": "and or but nor if because although though while whether unless than when where since until",
}
_CLASS_OF = {word: name for name, words in _LISTS.items() for word in words.split()}
_WORD = re.compile(r"\w+(?:[.'\-/_]\w+)*|[^\w\s]")

# Of the tags of the Brown corpus, by what they begin with; the longest beginning decides. Those of the Penn Treebank
# that are spelt in another way have their own lines.
_BROWN = {
    "noun": "NN NR",
    "proper noun": "NP NNP",
    "verb": "VB",
    "auxiliary": "BE DO HV MD",
    "adjective": "JJ",
    "adverb": "RB RN WRB QL WQL",
    "determiner": "AT DT WDT AP ABL ABN ABX PDT PRP$ PP$ PP$$",
    "pronoun": "PPS PPO PPL PN PRP WP EX",
    "preposition": "IN",
    "conjunction": "CC CS",
    "number": "CD OD",
    "particle": "RP TO POS *",
    "punctuation": ". , : ; ( ) `` '' ' -- -LRB- -RRB- $ #",
}
_BEGINNINGS = sorted(
    ((beginning, name) for name, tags in _BROWN.items() for beginning in tags.split()),
    key=lambda pair: -len(pair[0]),
)
_UNIVERSAL = {
    "NOUN": "noun",
    "PROPN": "proper noun",
    "VERB": "verb",
    "AUX": "auxiliary",
    "ADJ": "adjective",
    "ADV": "adverb",
    "DET": "determiner",
    "PRON": "pronoun",
    "ADP": "preposition",
    "CCONJ": "conjunction",
    "SCONJ": "conjunction",
    "NUM": "number",
    "PART": "particle",
    "PUNCT": "punctuation",
}


def coarse_class(tag: str) -> str | None:
    """The part of speech of a universal tag, or of a tag of the Brown corpus or the Penn Treebank; None for others.

    A tag of two words in one ("PPSS+BEZ", it's) has no class, and neither has a foreign word ("FW-NN").

    Example:
      >>> [coarse_class(tag) for tag in ("NNS", "NP-TL", "BEZ*", "CCONJ", "PPSS+BEZ", "FW-NN")]
      ['noun', 'proper noun', 'auxiliary', 'conjunction', None, None]
    """
    if tag in _UNIVERSAL:
        return _UNIVERSAL[tag]
    if "+" in tag or tag.startswith("FW-"):
        return None
    return next((name for beginning, name in _BEGINNINGS if tag.startswith(beginning)), None)


def read_classes(file: str) -> Callable[[str], str | None]:
    """The classes of tags in a .tsv file with the columns `tag` and `class`; tags that it lacks have no class.

    Raises:
      UserError: the file cannot be read, lacks a column, or has a tag twice.
    """
    table = Tsv(file)
    tags, names = table.column("tag"), table.column("class")
    classes: Mapping[str, str] = dict(zip(tags, names, strict=True))
    if len(classes) < len(tags):
        twice = next(tag for number, tag in enumerate(tags) if tag in tags[:number])
        raise UserError(
            f"data source {file!r}: the tag {twice!r} is there twice; expected one class for each tag."
        )
    return classes.get


def tag_by_lists(text: str) -> TaggedWords:
    """The words of an English sentence with classes by closed lists, which need no tagged text.

    Example:
      >>> tag_by_lists("The 2 axes are equal.").tags
      ('determiner', 'number', 'other word', 'auxiliary', 'other word', 'punctuation')
    """
    words = tuple(_WORD.findall(text))
    return TaggedWords(words, tuple(map(_class_of, words)))


def _class_of(word: str) -> str:
    if not any(map(str.isalnum, word)):
        return "punctuation"
    if word[0].isdigit() and not any(map(str.isalpha, word)):
        return "number"
    return _CLASS_OF.get(word.lower(), OTHER)
