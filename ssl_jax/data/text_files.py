"""Text files as documents, with random access through memory maps, so that a corpus may be larger than memory."""

import glob
import hashlib
import mmap
import re
from pathlib import Path
from typing import Literal

import numpy as np

from ssl_jax.data.sentences import split_sentences
from ssl_jax.errors import UserError

TextFormat = Literal["lines", "raw"]
_BREAKS = {"lines": re.compile(rb"\n(?:[ \t\r]*\n)+"), "raw": re.compile(rb"\n(?:[ \t\r]*\n){2,}")}
_BLANK_LINE = re.compile(r"\n\s*\n")


class TextFiles:
    """Documents, each a list of sentences, from text files.

    In both formats, the end of a file ends a document.

    Args:
      path: a file, a folder (the `*.txt` in it and in its subfolders), or a glob pattern.
      format: "lines": one sentence per line, and a blank line ends a document. "raw": prose, where a blank line ends a
        paragraph and two or more end a document; sentences are split by rules.

    Raises:
      UserError: there is no such file, it is empty, or (when a document is read) it is not UTF-8.
    """

    def __init__(self, path: str | Path, format: TextFormat = "lines"):
        self.name = str(path)
        self._format = format
        self._paths = _find(str(path))
        self._maps = [_open(file) for file in self._paths]
        spans = [_documents(data, _BREAKS[format]) for data in self._maps]
        self._spans = np.concatenate(spans)
        self._files = np.repeat(np.arange(len(spans)), [len(s) for s in spans])
        if len(self._spans) == 0:
            raise UserError(f"data source {self.name!r}: the corpus is empty; expected UTF-8 text.")
        stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in self._paths]
        self.fingerprint = hashlib.sha256(repr((format, stats)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> list[str]:
        file, (start, end) = self._files[index], self._spans[index]
        try:
            text = self._maps[file][start:end].decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"data source {str(self._paths[file])!r}: the byte at offset {start + error.start} is not UTF-8 "
                f"({error.reason}). Convert the file, for instance with iconv -f ISO-8859-1 -t UTF-8."
            ) from error
        if self._format == "lines":
            return [line.strip() for line in text.splitlines() if line.strip()]
        return [s for paragraph in _BLANK_LINE.split(text) for s in split_sentences(paragraph)]


def _find(pattern: str) -> list[Path]:
    path = Path(pattern).expanduser()
    if path.is_dir():
        files = sorted(path.rglob("*.txt"))
        if not files:
            raise UserError(
                f"data source {pattern!r}: no *.txt below this folder; give a glob pattern, such as "
                f"'{pattern}/*.text'."
            )
        return files
    files = [path] if path.is_file() else sorted(map(Path, glob.glob(str(path), recursive=True)))
    files = [file for file in files if file.is_file()]
    if not files:
        raise UserError(
            f"data source {pattern!r}: no such file or folder, and no file matches it as a pattern."
        )
    return files


def _open(path: Path) -> mmap.mmap | bytes:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            return b""  # an empty file cannot be mapped
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _documents(data: mmap.mmap | bytes, separator: re.Pattern[bytes]) -> np.ndarray:
    """The byte ranges `[documents, 2]` between separators that are not only white space."""
    start = 3 if data[:3] == b"\xef\xbb\xbf" else 0  # a byte order mark
    spans = []
    for match in separator.finditer(data, start):
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(data)))
    return np.array([s for s in spans if data[s[0] : s[1]].strip()], np.int64).reshape(-1, 2)
