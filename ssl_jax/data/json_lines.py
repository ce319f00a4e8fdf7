"""Text from files of JSON lines, one object a line, such as C4's: plain or compressed with gzip."""

import fnmatch
import gzip
import hashlib
import json
import mmap
import os
import re
import shlex
import zlib

import numpy as np
from etils import epath

from ssl_jax.bucket import is_remote
from ssl_jax.data.encodings import not_utf8
from ssl_jax.data.sentences import split_sentences
from ssl_jax.data.text_files import find_files, lines_with_ends
from ssl_jax.data.tfds_text import paragraphs
from ssl_jax.errors import UserError

SUFFIXES = (".jsonl", ".jsonl.gz", ".json.gz")
"""Of the files, in upper or lower case."""


def is_json_lines(spec: str) -> bool:
    """Whether a path or a pattern names files of JSON lines: by its suffix, unless it is a folder."""
    return spec.lower().endswith(SUFFIXES) and not (not is_remote(spec) and os.path.isdir(spec))


def csv_advice(spec: str) -> str:
    """How a .csv file becomes one of JSON lines, for a message; empty for other files."""
    stem, suffix = os.path.splitext(spec)
    if suffix.lower() != ".csv":
        return ""
    convert = "import csv, json, sys; [print(json.dumps(row)) for row in csv.DictReader(sys.stdin)]"
    source, target = shlex.quote(spec), shlex.quote(f"{stem}.jsonl")
    return f" A .csv file is converted by: python -c '{convert}' < {source} > {target}"


def find_json_lines(spec: str) -> list[epath.Path]:
    """The files that a path or a pattern names, local or on gs://, in the order of names.

    On gs:// the last part of the path may be a pattern.
    """
    if not is_remote(spec):
        return [epath.Path(file) for file in find_files(spec)]
    folder, pattern = epath.Path(spec).parent, epath.Path(spec).name
    try:
        return sorted(file for file in folder.iterdir() if fnmatch.fnmatch(file.name, pattern))
    except FileNotFoundError:
        return []


class JsonLines:
    """One field of each object as documents: lists of sentences split by rules, or if `verbatim` the text as it is.

    Plain local files are read where they lie; those that are compressed or on gs:// are held in memory.

    Args:
      spec: a file, or a pattern.
      field: the field with the text.
      verbatim: whether a document is its text as it is, line by line with the ends of the lines.

    Raises:
      UserError: there is no such file, it cannot be read, or it has no line; when a document is read: the line is not
        a JSON object with this field, a text.
    """

    def __init__(self, spec: str, field: str, verbatim: bool = False):
        self.name, self._field, self._verbatim = spec, field, verbatim
        paths = find_json_lines(spec)
        if not paths:
            raise UserError(f"data source {spec!r}: no such file, and no file matches it as a pattern.")
        self._paths = [str(path) for path in paths]
        self._files = [_content(path) for path in paths]
        spans = [_lines(data) for data in self._files]
        self._ends = np.cumsum([0, *map(len, spans)])
        self._spans = np.concatenate(spans)
        if len(self._spans) == 0:
            raise UserError(f"data source {spec!r}: the corpus is empty; expected a JSON object a line.")
        digests = [hashlib.sha256(data).hexdigest() for data in self._files]
        self.fingerprint = hashlib.sha256(repr((field, verbatim, digests)).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, index: int) -> list[str]:
        file = int(np.searchsorted(self._ends, index, side="right")) - 1
        start, end = map(int, self._spans[index])
        text = self._text(self._paths[file], start, self._files[file][start:end])
        if self._verbatim:
            return lines_with_ends(text)
        return [sentence for paragraph in paragraphs(text) for sentence in split_sentences(paragraph)]

    def _text(self, path: str, start: int, line: bytes) -> str:
        place = f"data source {path!r}, byte {start}"
        try:
            found = json.loads(line.decode())
        except UnicodeDecodeError as error:
            raise not_utf8(path, start + error.start, error.reason) from error
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: not JSON ({error}); expected one object a line.") from None
        if not isinstance(found, dict) or not isinstance(found.get(self._field), str):
            has = f"it has {', '.join(found) or 'nothing'}" if isinstance(found, dict) else "it is no object"
            raise UserError(
                f"{place}: no text {self._field!r}; {has}. Name the field with --data.column (--column of "
                "ssl_jax.prepare)."
            )
        return found[self._field]


def _content(path: epath.Path) -> bytes | mmap.mmap:
    try:
        if path.name.lower().endswith(".gz"):
            return gzip.decompress(path.read_bytes())
        if is_remote(path) or path.stat().length == 0:
            return path.read_bytes()
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, EOFError, zlib.error) as error:  # BadGzipFile is an OSError
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"data source {str(path)!r}: cannot be read ({reason}).") from error


def _lines(data: bytes | mmap.mmap) -> np.ndarray:
    """The byte ranges `[lines, 2]` of the lines that are not blank."""
    spans = [match.span() for match in re.finditer(rb"[^\n]*[^\s][^\n]*", data)]
    return np.array(spans, np.int64).reshape(-1, 2)
