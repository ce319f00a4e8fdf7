"""Images and labels in idx files, the format of MNIST, optionally compressed with gzip.

The format (http://yann.lecun.com/exdb/mnist) is two zero bytes, one byte for the type of the values, one for the number
of dimensions, the dimensions as big-endian 32-bit integers, and the values.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ssl_jax.data.image_source import UNLABELLED, Canvas, ImageArrays
from ssl_jax.errors import UserError

_UNSIGNED_BYTE = 0x08
_TRAINING_IMAGES = "train-images*idx[34]-ubyte*"
_TEST_NAMES = ("t10k", "test")


def read_idx(path: Path) -> np.ndarray:
    """Reads the values of an idx file: a read-only uint8 array of any number of dimensions.

    Raises:
      UserError: the file is not an idx file of unsigned bytes, or its size does not match its dimensions.
    """
    data = _bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0":
        raise UserError(
            f"{str(path)!r}: not an idx file; expected to begin with two zero bytes, found {data[:4].hex(' ')!r}. Give "
            "a folder of images, or of files such as train-images-idx3-ubyte.gz."
        )
    kind, dimensions = data[2], data[3]
    if kind != _UNSIGNED_BYTE:
        raise UserError(
            f"{str(path)!r}: an idx file of type 0x{kind:02x}; expected unsigned bytes, 0x{_UNSIGNED_BYTE:02x}."
        )
    start = 4 + 4 * dimensions
    if len(data) < start:
        raise UserError(f"{str(path)!r}: truncated within its {dimensions} dimensions; get the file again.")
    shape = struct.unpack(f">{dimensions}I", data[4:start])
    expected = start + math.prod(shape)
    if len(data) != expected:
        raise UserError(
            f"{str(path)!r}: {len(data):,} bytes; expected {expected:,} for its dimensions "
            f"{' x '.join(map(str, shape))}. It is {'truncated' if len(data) < expected else 'too long'}; get it again."
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{str(path)!r}: damaged gzip data ({error}); get the file again.") from error
    except OSError as error:
        raise UserError(f"{str(path)!r}: cannot be read ({error.strerror}).") from error


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
