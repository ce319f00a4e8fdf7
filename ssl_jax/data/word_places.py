"""Where the words of tagged sentences are in running text.

Tagged files have punctuation apart from words and other quotation marks; the text that a model was pretrained on has
neither. Sentences are therefore found by their characters without white space, and so are the words in them.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.tokenizers import Tokenizer

_CLOSING = (*".,;:!?)", "''", "...")
_OPENING = ("(", "``")
_QUOTES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'"})


class TaggedTexts(NamedTuple):
    """Texts and the words in them.

    Attributes:
      texts: the sentences, each once.
      places: int64 `[words, 3]`: the number of the text, and where the word starts and stops in it, in characters.
      tags: `[words]`, of the words.
      found: sentences of the tagged file that are among the texts.
    """

    texts: list[str]
    places: np.ndarray
    tags: list[str]
    found: int


def corpus_sentences(corpus: TokenizedCorpus, tokenizer: Tokenizer) -> Iterable[str]:
    """The sentences of a tokenised corpus, decoded."""
    for first, end in zip(corpus.first_sentence, corpus.end_sentence, strict=True):
        for number in range(int(first), int(end)):
            start, stop = corpus.sentence_offsets[number : number + 2]
            yield tokenizer.decode(corpus.tokens[start:stop].tolist())


def find_tagged(sentences: Sequence[TaggedWords], texts: Iterable[str]) -> TaggedTexts:
    """Finds tagged sentences in running text. Case, white space and the form of quotation marks make no difference.

    Args:
      sentences: with tags.
      texts: the sentences of the text.

    Example:
      >>> found = find_tagged([TaggedWords(("``", "No", ",", "''"), ("(", "UH", ",", ")"))], ['"No,"', "Yes."])
      >>> found.texts, found.places.tolist(), found.tags
      (['"No,"'], [[0, 0, 1], [0, 1, 3], [0, 3, 4], [0, 4, 5]], ['(', 'UH', ',', ')'])
    """
    keys = [_key("".join(map(_word, sentence.words))) for sentence in sentences]
    wanted = {*keys}
    by_key: dict[str, str] = {}
    for text in texts:
        if (key := _key(text)) in wanted:
            by_key.setdefault(key, text)
    chosen: dict[str, TaggedWords] = {}
    for key, sentence in zip(keys, sentences, strict=True):
        if key in by_key:
            chosen.setdefault(key, sentence)
    found = sum(key in by_key for key in keys)
    kept = [by_key[key] for key in chosen]
    places: list[tuple[int, int, int]] = []
    tags: list[str] = []
    for number, (text, sentence) in enumerate(zip(kept, chosen.values(), strict=True)):
        # Of each character of the key, the character of the text that it is from.
        origin = [i for i, character in enumerate(text) for _ in _key(character)]
        at = 0
        for word, tag in zip(sentence.words, sentence.tags or (), strict=True):
            length = len(_key(_word(word)))
            if length:
                places.append((number, origin[at], origin[at + length - 1] + 1))
                tags.append(tag)
            at += length
    return TaggedTexts(kept, np.array(places, np.int64).reshape(-1, 3), tags, found)


def running_text(words: Sequence[str]) -> str:
    """Words as text, with the punctuation of English where it belongs.

    Example:
      >>> running_text(["``", "No", "(", "never", ")", ",", "''", "he", "said", "."])
      '"No (never)," he said.'
    """
    text = ""
    for before, word in zip(("", *words), words, strict=False):
        text += ("" if not text or before in _OPENING or word in _CLOSING else " ") + _word(word)
    return text


def _word(word: str) -> str:
    """A word with the quotation marks of running text."""
    return '"' if word in ("``", "''") else word


def _key(text: str) -> str:
    """The characters without white space, in one case, character by character, so that parts have parts of the key."""
    if text.isascii():  # the same, faster
        return "".join(text.casefold().split())
    return "".join(
        folded
        for character in text.translate(_QUOTES)
        if not (folded := unicodedata.normalize("NFKC", character).casefold()).isspace()
    ).replace(" ", "")
