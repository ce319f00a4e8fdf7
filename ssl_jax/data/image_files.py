"""Folders of images as they lie on disk: of any size, mode and format, in a folder for each class or in none."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_jax.data.encoded_images import EncodedImages, Unreadable
from ssl_jax.data.image_source import UNLABELLED, Canvas, heldout_count
from ssl_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TRAINING = "train"
HELDOUT = ("val", "valid", "validation", "test")
"""Names of the subfolder that holds what is never trained on; the first that is there."""


class _File(NamedTuple):
    path: str  # relative to the folder, with slashes
    size: int


class ImageFiles(EncodedImages):
    """The images of a folder, in the order of their names.

    Args:
      files: relative to `folder`.
      classes: names of the first-level subfolders, whose place is the label; images elsewhere have no label.

    Raises:
      UserError: (when an image is read) it cannot be, or, where damaged ones are skipped, none can.
    """

    def __init__(
        self,
        folder: Path,
        files: Sequence[_File],
        classes: tuple[str, ...],
        canvas: Canvas,
        unreadable: Unreadable,
    ) -> None:
        super().__init__(canvas, unreadable)
        self.name, self.classes = str(folder), classes
        self._folder, self._files, self._numbers = folder, files, {name: i for i, name in enumerate(classes)}
        digest = hashlib.sha256(repr(classes).encode())
        for file in files:
            digest.update(f"{file.path}\0{file.size}\0".encode(errors="surrogateescape"))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> tuple[bytes, int]:
        """The file as it is, and the number of its class.

        Raises:
          UserError: the disk does not give it. That may pass, so such a file is never skipped.
        """
        path = self._files[index].path
        try:
            data = (self._folder / path).read_bytes()
        except OSError as error:
            raise UserError(f"{self.called(index)}: cannot be read ({error.strerror}).") from error
        return data, self._numbers.get(_subfolder(path), UNLABELLED)

    def called(self, index: int) -> str:
        """The path."""
        return repr(str(self._folder / self._files[index].path))

    def split(self, share: float) -> tuple["ImageFiles", "ImageFiles"]:
        """Holds out by a hash of the path inside the folder: further images move none from one side to the other."""
        heldout_count(self.name, len(self), share)
        hashes = np.array([_hash(file.path) for file in self._files], np.uint64)
        lowest, highest = np.sort(hashes)[[1, -1]]
        held = hashes < np.clip(np.uint64(share * 2.0**64), lowest, highest)  # so that neither side is empty
        return self._select(~held), self._select(held)

    def _select(self, chosen: np.ndarray) -> "ImageFiles":
        files = [self._files[i] for i in np.flatnonzero(chosen)]
        return ImageFiles(self._folder, files, self.classes, self._canvas, self._unreadable)


def open_folder(folder: Path, canvas: Canvas, unreadable: Unreadable) -> tuple[ImageFiles, ImageFiles | None]:
    """(the images of a folder, those that it holds out).

    With a subfolder train/, these are its images and those of val/ (or valid/, validation/, test/) beside it. Without
    train/, or without the other, none are held out (None). Subfolders, two or more, are the classes, in the order of
    their names; a class may have subfolders. Names that begin with a dot are left out.

    Raises:
      UserError: there are no images, or held-out ones of a class that is not among those trained on.
    """
    if not (folder / TRAINING).is_dir():
        files = _list(folder)
        return ImageFiles(folder, files, _classes(files), canvas, unreadable), None
    files = _list(folder / TRAINING)
    train = ImageFiles(folder / TRAINING, files, _classes(files), canvas, unreadable)
    held = next((folder / name for name in HELDOUT if (folder / name).is_dir()), None)
    if held is None:
        return train, None
    files = _list(held)
    names = _subfolders(files)
    strange = [name for name in names if name not in train.classes]
    if strange and train.classes:
        raise UserError(
            f"data source {str(held)!r}: a class {strange[0]!r} that {train.name!r} has not; expected the same "
            "subfolders in both, one for each class."
        )
    return train, ImageFiles(held, files, train.classes if names else (), canvas, unreadable)


def _list(folder: Path) -> list[_File]:
    try:
        files = sorted(_scan(str(folder), ""))
    except OSError as error:
        raise UserError(f"data source {error.filename!r}: cannot be read ({error.strerror}).") from error
    if not files:
        raise UserError(
            f"data source {str(folder)!r}: no images below this folder; expected files that end with "
            f"{', '.join(SUFFIXES)}."
        )
    return files


def _scan(folder: str, prefix: str) -> Iterator[_File]:
    """Follows links, since data sets are often folders of links."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _scan(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield _File(prefix + entry.name, entry.stat().st_size)


def _classes(files: Sequence[_File]) -> tuple[str, ...]:
    """The subfolders; one alone tells nothing apart, and is no class."""
    names = _subfolders(files)
    return tuple(names) if len(names) > 1 else ()


def _subfolders(files: Sequence[_File]) -> list[str]:
    return sorted({name for file in files if (name := _subfolder(file.path))})


def _subfolder(path: str) -> str:
    first, slash, _ = path.partition("/")
    return first if slash else ""


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:8], "big")
