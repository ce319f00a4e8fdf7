"""Folders of image files of any size, mode and format, with one subfolder per class or without classes."""

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
"""Names of the subfolder with the held-out images; the first that exists is used."""


class _File(NamedTuple):
    """A file.

    Attributes:
      path: relative to the folder, with slashes.
      size: bytes.
    """

    path: str
    size: int


class ImageFiles(EncodedImages):
    """The images of a folder, ordered by name.

    Args:
      folder: the folder.
      files: files in the folder.
      classes: names of the first-level subfolders; the index is the label. Images elsewhere have no label.
      canvas: size and channels of the examples.
      unreadable: what to do with damaged images.

    Raises:
      UserError: (when an image is read) it cannot be read, or, if damaged images are skipped, none can.
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
        """The bytes of the file, and the index of its class.

        Raises:
          UserError: the file cannot be read from the disk. This may be temporary, so such a file is never skipped.
        """
        path = self._files[index].path
        try:
            data = (self._folder / path).read_bytes()
        except OSError as error:
            raise UserError(f"{self.describe(index)}: cannot be read ({error.strerror}).") from error
        return data, self._numbers.get(_subfolder(path), UNLABELLED)

    def describe(self, index: int) -> str:
        """The path."""
        return repr(str(self._folder / self._files[index].path))

    def split(self, share: float) -> tuple["ImageFiles", "ImageFiles"]:
        """Splits into (training, held-out) by a hash of the relative path, so that new images move no other image."""
        heldout_count(self.name, len(self), share)
        hashes = np.array([_hash(file.path) for file in self._files], np.uint64)
        lowest, highest = np.sort(hashes)[[1, -1]]
        held = hashes < np.clip(np.uint64(share * 2.0**64), lowest, highest)  # so that neither side is empty
        return self._select(~held), self._select(held)

    def _select(self, chosen: np.ndarray) -> "ImageFiles":
        files = [self._files[i] for i in np.flatnonzero(chosen)]
        return ImageFiles(self._folder, files, self.classes, self._canvas, self._unreadable)


def open_folder(folder: Path, canvas: Canvas, unreadable: Unreadable) -> tuple[ImageFiles, ImageFiles | None]:
    """Opens a folder: (its images, the held-out images).

    If there is a subfolder train/, these are its images and those of val/ (or valid/, validation/, test/) beside it.
    Otherwise, and if there is no such subfolder, the held-out images are None. Two or more subfolders are the classes,
    ordered by name; a class may have subfolders. Names that begin with a dot are ignored.

    Raises:
      UserError: there are no images, or the held-out images have a class that the training images do not have.
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
    unknown = [name for name in names if name not in train.classes]
    if unknown and train.classes:
        raise UserError(
            f"data source {str(held)!r}: its class {unknown[0]!r} is missing in {train.name!r}; expected the same "
            "subfolders in both, one per class."
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
    """Yields the image files of a folder and its subfolders.

    Links are followed, because data sets are often folders of links.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _scan(entry.path, f"{prefix}{entry.name}/")
            elif entry.name.lower().endswith(SUFFIXES) and entry.is_file():
                yield _File(prefix + entry.name, entry.stat().st_size)


def _classes(files: Sequence[_File]) -> tuple[str, ...]:
    """The names of the subfolders. A single subfolder is no class."""
    names = _subfolders(files)
    return tuple(names) if len(names) > 1 else ()


def _subfolders(files: Sequence[_File]) -> list[str]:
    return sorted({name for file in files if (name := _subfolder(file.path))})


def _subfolder(path: str) -> str:
    first, slash, _ = path.partition("/")
    return first if slash else ""


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:8], "big")
