"""Sentences of words with tags: CoNLL files, CoNLL-U treebanks, tables with lists, and TFDS data sets."""

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from ssl_jax.data.labelled_tables import open_rows
from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.lines import read_lines
from ssl_jax.errors import UserError

Treebank = Literal["upos", "xpos"]
_TREEBANK_COLUMNS = {"upos": 3, "xpos": 4}
_TREEBANK_WIDTH = 10
_DOCUMENT = "-DOCSTART-"
_SPACE = re.compile(r"[ \t]+")  # not the other spaces of Unicode, which may be within a word


class TagColumns(NamedTuple):
    """Where words and tags are.

    Attributes:
      words: of a .jsonl file or a TFDS data set: the field with the list of words.
      tags: likewise of tags; "" if they are not known.
      column: of a CoNLL file: the number of the column of tags, from 1; -1 for the last one, 0 if tags are not known.
        Words are in the first column.
      treebank: of a .conllu file: "upos" for universal or "xpos" for the language's own parts of speech.
    """

    words: str = "words"
    tags: str = "tags"
    column: int = -1
    treebank: Treebank = "upos"


TFDS_COLUMNS = {"conll2003": TagColumns("tokens", "ner"), "conll2002": TagColumns("tokens", "ner")}
"""The fields of some TFDS data sets, by name. `pos` instead of `ner` has their parts of speech."""


def read_tagged_words(spec: str, columns: TagColumns | None = None) -> list[TaggedWords]:
    """Reads sentences of words with tags.

    Args:
      spec: by its suffix a .conllu file, a .jsonl file with lists, `tfds:name/config:split`, or anything else as CoNLL:
        a word and its tag a line, separated by a tab or by spaces, and a blank line between sentences. A line
        -DOCSTART- begins a document.
      columns: where words and tags are; None for the usual places.

    Raises:
      UserError: the source does not exist or has no sentence, or a word has no tag; the message names the file and the
        line.
    """
    if spec.startswith("tfds:"):
        name = re.split("[/:]", spec.removeprefix("tfds:"))[0]
        return _from_lists(spec, columns or TFDS_COLUMNS.get(name, TagColumns()))
    columns = columns or TagColumns()
    if spec.lower().endswith(".jsonl"):
        return _from_lists(spec, columns)
    read = _treebank if spec.lower().endswith(".conllu") else _conll
    sentences = list(read(spec, columns))
    if not sentences:
        raise UserError(
            f"data source {spec!r}: it has no sentence; expected a word and its tag a line, separated by a tab, and a "
            "blank line between sentences."
        )
    return sentences


def _blocks(name: str) -> Iterator[tuple[int, list[str]]]:
    """The lines between blank ones, with the number of the first."""
    block: list[str] = []
    for number, line in enumerate([*read_lines(name), ""], 1):
        if line.strip():
            block.append(line)
        elif block:
            yield number - len(block), block
            block = []


def _conll(name: str, columns: TagColumns) -> Iterator[TaggedWords]:
    document = 0
    for first, block in _blocks(name):
        if block[0].startswith(_DOCUMENT):
            document += 1
            first, block = first + 1, block[1:]
            if not block:
                continue
        words, tags = [], []
        for number, line in enumerate(block, first):
            fields = line.split("\t") if "\t" in line else _SPACE.split(line.strip())
            if len(fields) < max(2, columns.column) and columns.column:
                raise UserError(
                    f"data source {name!r}, line {number}: {len(fields)} column(s), {line.strip()!r}; expected a word "
                    f"and a tag in column {max(2, columns.column)}, separated by a tab or a space."
                )
            words.append(fields[0])
            tags.append(fields[columns.column - 1 if columns.column > 0 else -1].strip())
        name_of_document = f"document {document}" if document else ""
        yield _sentence(words, tags if columns.column else None, name_of_document, name, first)


def _treebank(name: str, columns: TagColumns) -> Iterator[TaggedWords]:
    """Words are the syntactic ones, which have tags: "zum" of German is "zu" and "dem"; empty nodes are left out."""
    document = ""
    for first, block in _blocks(name):
        words, tags = [], []
        for number, line in enumerate(block, first):
            if line.startswith("#"):
                if match := re.match(r"#\s*newdoc(?:\s+id\s*=\s*(.*))?", line):
                    document = match[1] or f"line {number}"
                continue
            fields = line.split("\t")
            if len(fields) != _TREEBANK_WIDTH:
                raise UserError(
                    f"data source {name!r}, line {number}: {len(fields)} columns; expected the {_TREEBANK_WIDTH} of "
                    "CoNLL-U, separated by tabs."
                )
            if not fields[0].isdecimal():  # 3-4 is the spelling of two words, 5.1 is an empty node
                continue
            words.append(fields[1])
            tags.append(fields[_TREEBANK_COLUMNS[columns.treebank]])
        if words:
            yield _sentence(words, tags, document, name, first)


def _from_lists(spec: str, columns: TagColumns) -> list[TaggedWords]:
    sentences = []
    for row in open_rows(spec, [name for name in (columns.words, columns.tags) if name]):
        words = _texts(row.cells[columns.words], columns.words, row.place)
        tags = _texts(row.cells[columns.tags], columns.tags, row.place) if columns.tags else None
        if not words:
            continue
        if tags is not None and len(tags) != len(words):
            raise UserError(
                f"{row.place}: {len(words)} words and {len(tags)} tags; expected a tag for each word."
            )
        sentences.append(TaggedWords(words, tags, place=row.place))
    if not sentences:
        raise UserError(f"data source {spec!r}: it has no sentence.")
    return sentences


def _texts(cell: object, name: str, place: str) -> tuple[str, ...]:
    if not isinstance(cell, list) or not all(isinstance(one, str) for one in cell):
        raise UserError(f"{place}: {name!r} is not a list of texts.")
    return tuple(cell)


def _sentence(
    words: Sequence[str], tags: Sequence[str] | None, document: str, name: str, line: int
) -> TaggedWords:
    place = f"data source {name!r}, line {line}"
    for number, pair in enumerate(zip(words, tags or words, strict=True), line):
        if not pair[0] or not pair[1]:
            raise UserError(
                f"data source {name!r}, line {number}: a word or a tag is empty; expected a word and its tag."
            )
    return TaggedWords(tuple(words), None if tags is None else tuple(tags), document, place)
