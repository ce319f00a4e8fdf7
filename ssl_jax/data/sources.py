"""Text sources: random access to documents, opened by name.

A document is a list of sentences. `source[i]` depends on `i` only.
"""

import hashlib
from typing import Protocol

from ssl_jax.data.json_lines import JsonLines, csv_advice, is_json_lines
from ssl_jax.data.prepared.manifest import PREPARED
from ssl_jax.data.pydocs import PyDocs
from ssl_jax.data.text_files import TextFiles, TextFormat, find_files
from ssl_jax.data.tfds_text import TfdsText
from ssl_jax.data.tsv import Tsv, TsvText, is_tsv
from ssl_jax.errors import UserError


class Source(Protocol):
    """Random access to documents.

    Attributes:
      name: name in messages.
      fingerprint: changes when the documents may have changed; part of the key of cached data.
    """

    name: str
    fingerprint: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> list[str]: ...


class Joined:
    """A source with one text per document: its sentences, joined.

    It is for language models with byte-level BPE, in which a word has different tokens with and without a space before
    it.

    Args:
      source: the documents.
      joint: what is put between sentences; nothing where they have the line breaks at their ends.
    """

    def __init__(self, source: Source, joint: str = " "):
        self._source, self._joint, self.name = source, joint, source.name
        self.fingerprint = hashlib.sha256(f"joined {source.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> list[str]:
        return [self._joint.join(self._source[index])]


def open_source(spec: str, format: TextFormat = "lines", column: str = "text", separator: str = "") -> Source:
    """Opens a corpus by name.

    Args:
      spec: one of
        - `pydocs`: the documentation inside the installed Python packages;
        - `tfds:name/config[:split]`: the field `text` of a TFDS data set, prepared as ArrayRecord;
        - a `.jsonl` file, also one of `.jsonl.gz` or `.json.gz`, or a pattern of such: the field `column` of the
          object on each line, one document each, on gs:// too;
        - a `.tsv` file (in upper or lower case) with a header line: its column `column`, one document per row;
        - a text file, a folder (its `*.txt`), or a glob pattern.
      format: of text files: "lines", one sentence per line and a blank line between documents; or "raw", prose with a
        blank line between paragraphs and two between documents. With "verbatim" text is kept as it is, that of files
        (see `TextFiles`), of the field of a TFDS data set or of JSON lines, and of the column of a `.tsv` file. The
        sentences of a document are then its lines, with the line breaks at their ends; those of `pydocs` are what they
        always are.
      column: of a `.tsv` file or of JSON lines.
      separator: see `TextFiles`.

    Raises:
      UserError: the source does not exist, or it is empty.
    """
    if spec == "pydocs":
        return PyDocs()
    if spec.startswith("tfds:"):
        return TfdsText(spec.removeprefix("tfds:"), verbatim=format == "verbatim")
    if spec.startswith(PREPARED):
        raise UserError(
            f"data source {spec!r}: prepared folders hold rows of the experiments bert, albert, gpt2, bart, mass and "
            "t5, as their --data.source; here the text itself is needed."
        )
    if is_json_lines(spec):
        return JsonLines(spec, column, verbatim=format == "verbatim")
    if not spec or (":" in spec and not find_files(spec)):  # perhaps a misspelt prefix
        raise UserError(
            f"data source {spec!r}: expected 'pydocs', 'tfds:name/config[:split]', the path of a text file, a "
            "folder of *.txt, a pattern, a .tsv or a .jsonl file, or 'prepared:FOLDER'."
        )
    if advice := csv_advice(spec):  # which would be read as lines of text
        raise UserError(
            f"data source {spec!r}: a table is read from a .tsv file or from JSON lines, with --data.column.{advice}"
        )
    if is_tsv(spec):
        return TsvText(Tsv(spec), column, verbatim=format == "verbatim")
    return TextFiles(spec, format, separator)
