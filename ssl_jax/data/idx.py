"""Images and labels in idx files, the format of MNIST, optionally compressed with gzip.

The format (http://yann.lecun.com/exdb/mnist) is two zero bytes, one byte for the type of the values, one for the number
of dimensions, the dimensions as big-endian 32-bit integers, and the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ssl_jax.data.image_source import UNLABELLED, Canvas, ImageArrays
from ssl_jax.errors import UserError
from ssl_jax.memory import physical_memory

_UNSIGNED_BYTE = 0x08
_MOST_DIMENSIONS = 8
_MOST_PACKED = 1032
"""Bytes that gzip can make of one."""
_BLOCK = 2**20
_TRAINING_IMAGES = "train-images*idx[34]-ubyte*"
_TEST_NAMES = ("t10k", "test")


def read_idx(path: Path) -> np.ndarray:
    """Reads the values of an idx file: a read-only uint8 array of any number of dimensions.

    Raises:
      UserError: the file is not an idx file of unsigned bytes, or its size does not match its dimensions.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            return _read(path, gzip.open(file) if packed else file, path.stat().st_size, packed)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{str(path)!r}: damaged gzip data ({error}); get the file again.") from error
    except OSError as error:
        raise UserError(f"{str(path)!r}: cannot be read ({error.strerror}).") from error


def _read(path: Path, file: BinaryIO, size: int, packed: bool) -> np.ndarray:
    """The values. No more is read than the header says, and it is compared first with the size of the file."""
    begin = file.read(4)
    if len(begin) < 4 or begin[:2] != b"\0\0":
        raise UserError(
            f"{str(path)!r}: not an idx file; expected to begin with two zero bytes, found {begin.hex(' ')!r}. Give "
            "a folder of images, or of files such as train-images-idx3-ubyte.gz."
        )
    kind, dimensions = begin[2], begin[3]
    if kind != _UNSIGNED_BYTE:
        raise UserError(
            f"{str(path)!r}: an idx file of type 0x{kind:02x}; expected unsigned bytes, 0x{_UNSIGNED_BYTE:02x}."
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise UserError(f"{str(path)!r}: truncated within its {dimensions} dimensions; get the file again.")
    shape = struct.unpack(f">{dimensions}I", header)
    count = math.prod(shape)
    if dimensions > _MOST_DIMENSIONS or count > min(
        size * (_MOST_PACKED if packed else 1), physical_memory()
    ):
        found = f"{size:,} bytes of gzip" if packed else f"{size - 4 - len(header):,} bytes after the header"
        raise _wrong_size(path, shape, found, "truncated")
    data = bytearray()
    while len(data) <= count and (more := file.read(min(_BLOCK, count + 1 - len(data)))):
        data += more
    if len(data) != count:
        found = f"{len(data):,} bytes" if len(data) < count else "more bytes"
        raise _wrong_size(
            path, shape, f"{found} after the header", "truncated" if len(data) < count else "too long"
        )
    return np.frombuffer(bytes(data), np.uint8).reshape(shape)


def _wrong_size(path: Path, shape: tuple[int, ...], found: str, problem: str) -> UserError:
    return UserError(
        f"{str(path)!r}: {found}; expected {math.prod(shape):,} for its dimensions {' x '.join(map(str, shape))}. "
        f"It is {problem}; get it again."
    )


def find_training_images(folder: Path) -> Path | None:
    """The file of training images in a folder, named like MNIST's; None if there is none."""
    return next(iter(sorted(folder.glob(_TRAINING_IMAGES))), None)


def open_idx(images: Path, canvas: Canvas) -> tuple[ImageArrays, ImageArrays | None]:
    """Opens a file of images: (its images, the test images beside it).

    The labels are in a file in the same folder whose name has `labels` for `images` and idx1 for idx3. If it does not
    exist, the images are unlabelled. The name of the test images has `t10k` or `test` for `train`; None if they do not
    exist. The class names are the numbers.

    Raises:
      UserError: a file is damaged or does not contain images, or the numbers of labels and images differ.
    """
    files = [images, *_beside(images, [("train", test) for test in _TEST_NAMES])[:1]]
    arrays = [_images_and_labels(file) for file in files]
    classes = tuple(map(str, range(1 + max(int(labels.max()) for _, labels in arrays))))
    sources = [
        ImageArrays(str(file), pixels, labels, classes if labels.max() != UNLABELLED else (), canvas)
        for file, (pixels, labels) in zip(files, arrays, strict=True)
    ]
    return sources[0], sources[1] if len(sources) > 1 else None


def _images_and_labels(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads pixels `[images, height, width, channels]` and int32 labels `[images]`."""
    pixels = read_idx(path)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3) or pixels.size == 0:
        raise UserError(
            f"{str(path)!r}: dimensions {' x '.join(map(str, pixels.shape))}; expected images x height x width, or "
            "images x height x width x channels with 1 or 3 channels, and none of them 0."
        )
    beside = _beside(path, [("images", "labels")])
    if not beside:
        return pixels, np.full(len(pixels), UNLABELLED, np.int32)
    labels = read_idx(beside[0])
    if labels.shape != (len(pixels),):
        raise UserError(
            f"{str(beside[0])!r}: labels of dimensions {' x '.join(map(str, labels.shape))}; expected {len(pixels):,}, "
            f"one for each image of {path.name}."
        )
    return pixels, labels.astype(np.int32)


def _beside(path: Path, renamed: list[tuple[str, str]]) -> list[Path]:
    """Existing files, compressed or not, whose names differ from this one by `renamed` (and idx1 for labels)."""
    found = []
    for old, new in renamed:
        name = path.name.replace(old, new).removesuffix(".gz")
        if name == path.name.removesuffix(".gz"):
            continue
        if new == "labels":
            name = name.replace("idx3", "idx1").replace("idx4", "idx1")
        found += [path.with_name(name), path.with_name(f"{name}.gz")]
    return [file for file in found if file.is_file()]
