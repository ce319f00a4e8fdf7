"""Text files as documents, with random access, so that a corpus may be larger than memory."""

import glob
import hashlib
import mmap
import os
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from ssl_jax.data.encodings import not_utf8, require_utf8
from ssl_jax.data.folders import list_files
from ssl_jax.data.sentences import split_sentences
from ssl_jax.errors import UserError

SentenceFormat = Literal["lines", "raw"]
TextFormat = Literal["lines", "raw", "verbatim"]
_BLANK_LINE = re.compile(r"\n\s*\n")


SUFFIX = ".txt"
"""Of the files that are read from a folder, in upper or lower case."""


class TextFiles:
    """Documents, each a list of sentences, from text files.

    In all formats, the end of a file ends a document. A document is read at once, so that it must fit into memory.

    Args:
      path: a file, a folder (the `*.txt` in it and in its subfolders, see `list_files`), or a glob pattern.
      format: "lines": one sentence per line, and a blank line ends a document. "raw": prose, where a blank line ends a
        paragraph and two or more end a document; sentences are split by rules. Lines end at "\\n"; the other line
        separators of Unicode are ordinary characters. "verbatim": the text as it is. The sentences of a document are
        its lines with their ends, and the sentences of all documents, joined, are the files.
      separator: of format "verbatim", what ends a document, of which it remains a part; empty for whole files.

    Raises:
      UserError: there is no such file, it cannot be read, it is empty, or (for some, when a document is read) it is not
        UTF-8.
    """

    def __init__(self, path: str | Path, format: TextFormat = "lines", separator: str = ""):
        self.name = str(path)
        self._format = format
        self._paths = find_files(self.name)
        if not self._paths:
            raise UserError(
                f"data source {self.name!r}: no such file or folder, and no file matches it as a pattern."
            )
        spans = partial(_pieces, separator=separator.encode()) if format == "verbatim" else _SPANS[format]
        scans = [_scan(file, spans) for file in self._paths]
        self._spans = np.concatenate([scan.spans for scan in scans])
        self._files = np.repeat(np.arange(len(scans)), [len(scan.spans) for scan in scans])
        if len(self._spans) == 0:
            raise UserError(f"data source {self.name!r}: the corpus is empty; expected UTF-8 text.")
        digests = [scan.sha256 for scan in scans]
        how = (format, separator) if separator else format
        self.fingerprint = hashlib.sha256(repr((how, digests)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> list[str]:
        path, (start, end) = self._paths[self._files[index]], map(int, self._spans[index])
        # Opened each time, because a folder may have more files than a process may keep open.
        try:
            with path.open("rb") as file:
                file.seek(start)
                data = file.read(end - start)
        except OSError as error:
            raise _unreadable(path, error) from error
        if len(data) < end - start:
            raise UserError(f"data source {str(path)!r}: has become shorter while it was read; start again.")
        if (zero := data.find(0)) >= 0:
            raise UserError(
                f"data source {str(path)!r}: the byte at offset {start + zero} is 0, which text does not have; the "
                "file is damaged."
            )
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf8(str(path), start + error.start, error.reason) from error
        if self._format == "verbatim":
            return lines_with_ends(text)
        if self._format == "lines":
            return [sentence for line in text.split("\n") if (sentence := line.strip())]
        return [s for paragraph in _BLANK_LINE.split(text) for s in split_sentences(paragraph)]


def lines_with_ends(text: str) -> list[str]:
    r"""The lines of a text, each with the "\n" that ends it, so that joined they are the text.

    Example:
      >>> lines_with_ends("one\r\n\n two")
      ['one\r\n', '\n', ' two']
    """
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def find_files(pattern: str) -> list[Path]:
    """The files that a path or a glob pattern names, in the order of names; empty if there are none.

    Raises:
      UserError: a folder has no text files, or the path is no file (a pipe, a device).
    """
    path = Path(os.path.expanduser(pattern))
    try:
        if path.is_dir():
            return _files_of_folder(path)
        if path.is_file():
            return [path]
        if path.exists():
            raise UserError(
                f"data source {pattern!r}: is neither a file nor a folder; expected one, not a pipe or device."
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    matches = sorted(map(Path, glob.glob(str(path), recursive=True)))
    distinct = {
        os.path.realpath(file): file for file in reversed(matches) if file.is_file()
    }  # ** follows links
    return sorted(distinct.values())


def _files_of_folder(folder: Path) -> list[Path]:
    files = sorted(folder / file.path for file in list_files(folder, (SUFFIX,)))
    if not files:
        others = list_files(
            folder, tuple(f"{SUFFIX}{ending}" for ending in (".gz", ".bz2", ".xz", ".zst", ".zip"))
        )
        if others:
            raise UserError(
                f"data source {str(folder)!r}: its text files are compressed ({others[0].path}); decompress them."
            )
        endings = Counter(Path(file.path).suffix for file in list_files(folder, ("",)))
        ending = max(endings, key=endings.__getitem__, default=".text")
        raise UserError(
            f"data source {str(folder)!r}: no *{SUFFIX} below this folder; give a glob pattern, such as "
            f"'{folder}/**/*{ending}'."
        )
    return files


class _Scan(NamedTuple):
    """What is known of a file.

    Attributes:
      spans: int64 `[documents, 2]`, the byte ranges of its documents.
      sha256: of its contents. It takes about as long as to find the documents. A file may be changed within the
        resolution of its time, or get its old time back from a copy.
    """

    spans: np.ndarray
    sha256: str


def _scan(path: Path, documents: Callable[[mmap.mmap], np.ndarray]) -> _Scan:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:  # cannot be mapped
                return _Scan(np.zeros((0, 2), np.int64), hashlib.sha256().hexdigest())
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                require_utf8(str(path), data[:4096])
                return _Scan(documents(data), hashlib.sha256(data).hexdigest())
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UserError:
    return UserError(f"data source {str(path)!r}: cannot be read ({error.strerror or error}).")


def _pieces(data: mmap.mmap, separator: bytes) -> np.ndarray:
    """The byte ranges `[documents, 2]` that end behind each separator; one after the other, they are the file."""
    ends = [match.end() for match in re.finditer(re.escape(separator), data)] if separator else []
    bounds = np.unique(np.array([0, *ends, len(data)], np.int64))
    return np.stack([bounds[:-1], bounds[1:]], axis=1)


def _documents(data: mmap.mmap, separator: re.Pattern[bytes]) -> np.ndarray:
    """The byte ranges `[documents, 2]` between separators that are not only white space."""
    start = 3 if data[:3] == b"\xef\xbb\xbf" else 0  # a byte order mark
    spans = []
    for match in separator.finditer(data, start):
        spans.append((start, match.start()))
        start = match.end()
    spans.append((start, len(data)))
    return np.array([s for s in spans if data[s[0] : s[1]].strip()], np.int64).reshape(-1, 2)


_SPANS = {
    "lines": partial(_documents, separator=re.compile(rb"\n(?:[ \t\r]*\n)+")),
    "raw": partial(_documents, separator=re.compile(rb"\n(?:[ \t\r]*\n){2,}")),
}
