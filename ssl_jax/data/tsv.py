"""Tab-separated files, with a header line or with column names given by the caller."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from ssl_jax.data.lines import decode_lines, read_source
from ssl_jax.data.sentences import split_sentences
from ssl_jax.errors import UserError


def is_tsv(path: str) -> bool:
    """Whether a path names a tab-separated file: by its suffix, in upper or lower case, unless it is a folder."""
    path = os.path.expanduser(path)
    return path.lower().endswith(".tsv") and not os.path.isdir(path)


class Tsv:
    """Rows of a tab-separated file, each a dictionary from column to text. Quotes have no special meaning.

    Args:
      path: the file, UTF-8.
      columns: names of the columns; None if the first line has them.
      header: whether the first line has the names; if not, and no names are given, they are the numbers from 1.

    Attributes:
      columns: names of the columns.
      line_numbers: of each row, from 1.

    Raises:
      UserError: the file does not exist, has no rows, is not UTF-8, or has a row with another number of columns.
    """

    def __init__(self, path: str | Path, columns: Sequence[str] | None = None, header: bool = True):
        self.name = str(path)
        data = read_source(self.name)
        self.fingerprint = hashlib.sha256(repr(columns).encode() + data).hexdigest()
        lines = decode_lines(self.name, data)
        numbered = [(number, line.rstrip("\r")) for number, line in enumerate(lines, 1)]
        numbered = [(number, line) for number, line in numbered if line.strip()]
        if columns is None and numbered:
            first = numbered[0][1].split("\t")
            columns = first if header else [str(number) for number in range(1, len(first) + 1)]
            numbered = numbered[1:] if header else numbered
        if not numbered:
            raise UserError(f"data source {self.name!r}: it has no rows.")
        self.columns = list(columns)
        self.line_numbers = [number for number, _ in numbered]
        self._rows = [self._row(number, line) for number, line in numbered]

    def _row(self, number: int, line: str) -> list[str]:
        fields = line.split("\t")
        if len(fields) != len(self.columns):
            raise UserError(
                f"data source {self.name!r}, line {number}: {len(fields)} columns; expected {len(self.columns)} "
                f"({', '.join(self.columns)}), separated by tabs."
            )
        return fields

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict[str, str]:
        return dict(zip(self.columns, self._rows[index], strict=True))

    def column(self, name: str) -> list[str]:
        """The texts of one column.

        Raises:
          UserError: the column does not exist.
        """
        if name not in self.columns:
            raise UserError(
                f"data source {self.name!r}, line 1: no column {name!r}; its columns are {', '.join(self.columns)}."
            )
        return [row[self.columns.index(name)] for row in self._rows]


class TsvText:
    """One column of a `Tsv` as documents: lists of sentences split by rules, or if `verbatim` the text as it is."""

    def __init__(self, tsv: Tsv, column: str, verbatim: bool = False):
        self.name = tsv.name
        how = f"{tsv.fingerprint} {column}" + (" verbatim" if verbatim else "")
        self.fingerprint = hashlib.sha256(how.encode()).hexdigest()
        self._texts, self._verbatim = tsv.column(column), verbatim

    def __len__(self) -> int:
        return len(self._texts)

    def __getitem__(self, index: int) -> list[str]:
        text = self._texts[index]
        return [text] if self._verbatim else split_sentences(text)
