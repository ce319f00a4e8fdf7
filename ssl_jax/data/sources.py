"""Text sources: random access to documents, opened by name.

A document is a list of sentences. `source[i]` depends on `i` only.
"""

from typing import Protocol

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


def open_source(spec: str, format: TextFormat = "lines", column: str = "text", separator: str = "") -> Source:
    """Opens a corpus by name.

    Args:
      spec: one of
        - `pydocs`: the documentation inside the installed Python packages;
        - `tfds:name/config[:split]`: the field `text` of a TFDS data set, prepared as ArrayRecord;
        - a `.tsv` file (in upper or lower case) with a header line: its column `column`, one document per row;
        - a text file, a folder (its `*.txt`), or a glob pattern.
      format: of text files: "lines", one sentence per line and a blank line between documents; or "raw", prose with a
        blank line between paragraphs and two between documents. With "verbatim" text is kept as it is, that of files
        (see `TextFiles`), of the field of a TFDS data set and of the column of a `.tsv` file. The sentences of a
        document are then its lines, with the line breaks at their ends; those of `pydocs` are what they always are.
      column: of a `.tsv` file.
      separator: see `TextFiles`.

    Raises:
      UserError: the source does not exist, or it is empty.
    """
    if spec == "pydocs":
        return PyDocs()
    if spec.startswith("tfds:"):
        return TfdsText(spec.removeprefix("tfds:"), verbatim=format == "verbatim")
    if not spec or (":" in spec and not find_files(spec)):  # perhaps a misspelt prefix
        raise UserError(
            f"data source {spec!r}: expected 'pydocs', 'tfds:name/config[:split]', or the path of a text file, a "
            "folder of *.txt, a pattern, or a .tsv file."
        )
    if is_tsv(spec):
        return TsvText(Tsv(spec), column, verbatim=format == "verbatim")
    return TextFiles(spec, format, separator)
