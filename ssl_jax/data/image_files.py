"""Folders of image files of any size, mode and format, with one subfolder per class or without classes."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ssl_jax.data.encoded_images import EncodedImages, Unreadable
from ssl_jax.data.folders import File, list_files, list_folders
from ssl_jax.data.image_source import UNLABELLED, Canvas, heldout_count
from ssl_jax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TRAINING = ("train", "training")
HELDOUT = ("val", "valid", "validation", "dev", "test", "testing")
"""Names of subfolders that are a split of the images, in any case; the first of HELDOUT that exists is held out."""
BESIDE_SPLITS = ("ground_truth", "masks", "annotations", "labels")
"""Names of subfolders that may be beside both a training and a held-out split. Their images are not used."""


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
        files: Sequence[File],
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

    Subfolders without images are ignored. The names of the others decide what they are:

    - Splits, if all names are those of splits: train/, and val/ or test/ beside it; see TRAINING and HELDOUT. The
      images of train/ are the images, those of the other one are held out. Images that are in no subfolder are not
      used, nor are those of a second held-out split.
    - Otherwise two or more subfolders are the classes, ordered by name; a class may have subfolders. Images that are in
      no subfolder have no label. A single subfolder is no class. The held-out images are None.

    Within a split, subfolders are classes in the same way, whatever their names are. If train/ has a single subfolder,
    and the held-out images have the same and others (train/good, test/good, test/scratch), it is a class, the first.

    Raises:
      UserError: there are no images; only some of the subfolders have names of splits, so that it is not clear whether
        train/ is a split or a class; there are held-out images and no others; or the held-out images have a class that
        the training images do not have.
    """
    splits = _find_splits(folder)
    if splits is None:
        files = _list(folder)
        return ImageFiles(folder, files, _classes(files), canvas, unreadable), None
    training, held, files_of = splits
    files = files_of[training]
    names, classes = _subfolders(files), _classes(files)
    if held is None:
        return ImageFiles(folder / training, files, classes, canvas, unreadable), None
    held_files = files_of[held]
    held_names = _subfolders(held_files)
    if len(names) == 1 and len(held_names) > 1 and names[0] in held_names:
        classes = (names[0], *(name for name in held_names if name != names[0]))
        names = classes[:1]
    unknown = [name for name in held_names if name not in classes]
    if unknown and classes:
        raise UserError(
            f"data source {str(folder / held)!r}: its class {unknown[0]!r} is missing in {str(folder / training)!r}; "
            "expected the same subfolders in both, one per class."
        )
    return (
        ImageFiles(folder / training, files, tuple(names) if classes else (), canvas, unreadable),
        ImageFiles(folder / held, held_files, classes if held_names else (), canvas, unreadable),
    )


def _find_splits(folder: Path) -> tuple[str, str | None, Mapping[str, Sequence[File]]] | None:
    """(name of the subfolder of the training images, that of the held-out images, the images of each subfolder).

    There may be no held-out images. None if the folder has no splits.

    Raises:
      UserError: only some subfolders have names of splits, or there are held-out images and no others.
    """
    names = list_folders(folder)
    if not any(name.lower() in (*TRAINING, *HELDOUT) for name in names):
        return None
    files_of = {name: files for name in names if (files := list_files(folder / name, SUFFIXES))}
    names = [*files_of]
    training = next((name for split in TRAINING for name in names if name.lower() == split), None)
    held = next((name for split in HELDOUT for name in names if name.lower() == split), None)
    if training is None and held is None:
        return None
    beside = BESIDE_SPLITS if training and held else ()
    others = [name for name in names if name.lower() not in (*TRAINING, *HELDOUT, *beside)]
    if others:
        raise UserError(
            f"data source {str(folder)!r}: {training or held}/ has the name of a split, and {', '.join(others[:5])} "
            f"beside it {'have' if len(others) > 1 else 'has'} not. If all of them are classes, move them into a "
            f"folder named {TRAINING[0]}/; if {training or held}/ is a split, move the others away."
        )
    if training is None:
        raise UserError(
            f"data source {str(folder)!r}: has {held}/, which is named like held-out images, and no {TRAINING[0]}/ "
            f"with images beside it. Name {str(folder / str(held))!r} itself to use its images."
        )
    return training, held, files_of


def _list(folder: Path) -> list[File]:
    files = list_files(folder, SUFFIXES)
    if not files:
        raise UserError(
            f"data source {str(folder)!r}: no images below this folder; expected files that end with "
            f"{', '.join(SUFFIXES)}."
        )
    return files


def _classes(files: Sequence[File]) -> tuple[str, ...]:
    """The names of the subfolders. A single subfolder is no class."""
    names = _subfolders(files)
    return tuple(names) if len(names) > 1 else ()


def _subfolders(files: Sequence[File]) -> list[str]:
    return sorted({name for file in files if (name := _subfolder(file.path))})


def _subfolder(path: str) -> str:
    first, slash, _ = path.partition("/")
    return first if slash else ""


def _hash(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode(errors="surrogateescape")).digest()[:8], "big")
