"""Texts in two languages, pair by pair: translations of sentences, or of words."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ssl_jax.data.lines import read_lines
from ssl_jax.data.tsv import Tsv, is_tsv
from ssl_jax.errors import UserError

_TREEBANK_TEXT = "# text = "
OWN_SCRIPT = 0.2
"""Share of the letters of a text that are of the script of its language, at least."""
_ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK"}
"""Japanese text mixes them with ideographs."""


class Pairs(NamedTuple):
    """Parallel text.

    Attributes:
      first, second: texts of the two languages, pair by pair.
      source: where they are from, for messages and tables.
      untranslated: number of the pairs that were left out, since a side is not in its language.
    """

    first: list[str]
    second: list[str]
    source: str
    untranslated: int


class PairSource(NamedTuple):
    """What `LANGUAGE,LANGUAGE=FILE` or `LANGUAGE,LANGUAGE=FILE,FILE` names.

    Attributes:
      languages: their names.
      files: a .tsv file with a column for each language, or a file for each.
    """

    languages: tuple[str, str]
    files: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "PairSource":
        """Reads what a user gave.

        Raises:
          UserError: it has another form.
        """
        names, separator, files = text.partition("=")
        languages, paths = tuple(names.split(",")), tuple(files.split(","))
        if not separator or len(languages) != 2 or not all((*languages, *paths)) or len(paths) > 2:
            raise UserError(
                f"{text!r}: expected LANGUAGE,LANGUAGE=FILE.tsv, with a column for each language, or "
                "LANGUAGE,LANGUAGE=FILE,FILE, with a sentence a line."
            )
        if languages[0] == languages[1]:
            raise UserError(f"{text!r}: both languages are {languages[0]}; expected two.")
        return cls(languages, paths)


def read_pairs(source: PairSource) -> Pairs:
    """Reads parallel text, and leaves out pairs with a side in the script of another language, or with equal sides.

    Such pairs are paragraphs that nobody has translated yet. Names in another script are no reason: a fifth of the
    letters have to be of the script that most texts of the language have.

    Raises:
      UserError: a file or a column does not exist, two files have different numbers of sentences, a side is empty, or
        no pair is left.
    """
    if len(source.files) == 1:
        [file] = source.files
        if not is_tsv(file):
            raise UserError(
                f"parallel text {file!r}: expected a .tsv file, or two files with a sentence a line."
            )
        table = Tsv(file)
        first, second = (table.column(name) for name in source.languages)
        places = [f"{file}, line {number}" for number in table.line_numbers]
    else:
        first, second = map(read_sentences, source.files)
        places = [f"{' and '.join(source.files)}, sentence {number}" for number in range(1, len(first) + 1)]
        if len(first) != len(second):
            raise UserError(
                f"parallel text: {source.files[0]} has {len(first)} sentences, {source.files[1]} has {len(second)}; "
                "expected a translation of each, in the same order."
            )
    for place, *sides in zip(places, first, second, strict=True):
        for language, side in zip(source.languages, sides, strict=True):
            if not side.strip():
                raise UserError(f"{place}: the text in {language} is empty; leave this pair out.")
    usual = [_usual_script(side) for side in (first, second)]
    kept = [
        (a, b)
        for a, b in zip(first, second, strict=True)
        if a.casefold() != b.casefold() and _in_script(a, usual[0]) and _in_script(b, usual[1])
    ]
    if not kept:
        raise UserError(f"parallel text {', '.join(source.files)}: no pair has sides in two languages.")
    return Pairs([a for a, _ in kept], [b for _, b in kept], ", ".join(source.files), len(first) - len(kept))


def read_sentences(file: str) -> list[str]:
    """The sentences of a file: of a .conllu treebank its texts, otherwise the lines.

    Raises:
      UserError: it cannot be read, or has no sentence.
    """
    lines = read_lines(file)
    if file.lower().endswith(".conllu"):
        lines = [line.removeprefix(_TREEBANK_TEXT) for line in lines if line.startswith(_TREEBANK_TEXT)]
    while lines and not lines[-1].strip():  # at the end of the file
        lines = lines[:-1]
    if not lines:
        raise UserError(f"parallel text {file!r}: has no sentence.")
    return list(lines)


def scripts(text: str) -> Counter[str]:
    """How many letters of a text are of each script, such as LATIN, CYRILLIC or CJK, in falling order.

    Example:
      >>> dict(scripts("Linux 内核")), dict(scripts("Grüße, 42"))
      ({'LATIN': 5, 'CJK': 2}, {'LATIN': 5})
    """
    names = (unicodedata.name(character, "").split(" ")[0] for character in text if character.isalpha())
    return Counter(_ONE_SCRIPT.get(name, name) for name in names if name)


def _usual_script(texts: Sequence[str]) -> str:
    most = Counter(max(counts, key=counts.get) for text in texts if (counts := scripts(text)))
    return most.most_common(1)[0][0] if most else ""


def _in_script(text: str, usual: str) -> bool:
    counts = scripts(text)
    return not counts or counts[usual] >= OWN_SCRIPT * counts.total()
