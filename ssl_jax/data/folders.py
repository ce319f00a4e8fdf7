"""Finds the files of a data set in a folder and its subfolders: the same rules for images and for text."""

import errno
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ssl_jax.errors import UserError


class File(NamedTuple):
    """A file.

    Attributes:
      path: relative to the folder, with slashes.
      size: bytes.
    """

    path: str
    size: int


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[File]:
    """The files with one of these suffixes, in upper or lower case, ordered by path.

    Links to files and folders are followed, because data sets are often folders of links. Each folder is read once,
    under its own name if it is inside, so that links in a circle do no harm. Not listed are: names that begin with a
    dot, which hold copies (`.ipynb_checkpoints`, `._a.txt`); links to nothing; and what is no file, such as a folder
    or a pipe with the suffix.

    Raises:
      UserError: a folder cannot be read.
    """
    found: list[File] = []
    seen: set[tuple[int, int]] = set()
    links = deque([""])  # read after the folders that are inside
    try:
        while links:
            inside = [links.popleft()]
            while inside:
                prefix = inside.pop()
                status = os.stat(folder / prefix)
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(folder / prefix) as entries:
                    for entry in sorted(entries, key=lambda entry: entry.name):
                        if entry.name.startswith("."):
                            continue
                        if _is(entry.is_dir):
                            (links if entry.is_symlink() else inside).append(f"{prefix}{entry.name}/")
                        elif entry.name.lower().endswith(suffixes) and _is(entry.is_file):
                            found.append(File(prefix + entry.name, entry.stat().st_size))
    except OSError as error:
        raise UserError(f"data source {error.filename!r}: cannot be read ({error.strerror}).") from error
    return sorted(found)


def existing_file(path: str | os.PathLike, expected: str) -> Path:
    """A file that a user names. Raises UserError, which says what was expected, if it is not there."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"{str(file)!r}: no such file; expected {expected}.")
    return file


def list_folders(folder: Path) -> list[str]:
    """Names of the folders in a folder, ordered. Names that begin with a dot are not listed.

    Raises:
      UserError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and _is(entry.is_dir)]
    except OSError as error:
        raise UserError(f"data source {error.filename!r}: cannot be read ({error.strerror}).") from error
    return sorted(names)


def _is(kind: Callable[[], bool]) -> bool:
    """`entry.is_dir()` or `entry.is_file()`; False for a link to itself, as for other links to nothing."""
    try:
        return kind()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise
