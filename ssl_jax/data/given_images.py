"""Images that a user gives to a trained model, as files or as arrays, in the form of the images of a run."""

import os
from collections.abc import Iterable

import numpy as np
from PIL import Image

from ssl_jax.data.encoded_images import decode, reason_of
from ssl_jax.data.folders import existing_file
from ssl_jax.data.image_source import UNLABELLED, Canvas, Example
from ssl_jax.errors import UserError

GivenImage = np.ndarray | str | os.PathLike
"""An array or the path of a file."""
FILE = "an image file, or an array of pixels"
"""What is expected of a path."""


class GivenImages:
    """Examples as an `ImageSource` has them, in the order given. Files are decoded when they are read.

    Args:
      images: paths of image files; or arrays `[height, width]` or `[height, width, channels]` with 1, 3 or 4 channels,
        uint8, or floating-point numbers from 0 to 1.
      canvas: size and channels of the examples.

    Raises:
      UserError: a file does not exist, or an array is no image; and, when it is read, a file is no image.
    """

    def __init__(self, images: Iterable[GivenImage], canvas: Canvas):
        self._canvas = canvas
        self._images = [
            _pixels(image, number) if isinstance(image, np.ndarray) else existing_file(image, FILE)
            for number, image in enumerate(images, 1)
        ]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        image = self._images[index]
        if isinstance(image, np.ndarray):
            return self._canvas.fit(Image.fromarray(image))
        try:
            return decode(image.read_bytes(), self._canvas, UNLABELLED)
        except Exception as error:  # Pillow's decoders raise errors of a dozen types on damaged data
            raise UserError(
                f"{str(image)!r}: cannot be read as an image ({reason_of(error)}). Remove or replace it."
            ) from error


def _pixels(array: np.ndarray, number: int) -> np.ndarray:
    """The array as Pillow takes it: uint8 `[height, width]` or `[height, width, 3 or 4]`."""
    if array.ndim not in (2, 3) or 0 in array.shape or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise UserError(
            f"image {number} has the shape {array.shape}; expected [height, width] or [height, width, channels] with "
            "1, 3 or 4 channels. Give a list of images, or an array whose first axis is that of the images."
        )
    if np.issubdtype(array.dtype, np.floating):
        if not (array.min() >= 0 and array.max() <= 1):  # NaN too
            raise UserError(
                f"image {number} has values from {array.min():g} to {array.max():g}; expected floating-point numbers "
                "from 0 to 1, or uint8 from 0 to 255. Scale the values to one of the two ranges."
            )
        array = np.rint(255 * array).astype(np.uint8)
    if array.dtype != np.uint8:
        raise UserError(
            f"image {number} has the dtype {array.dtype}; expected uint8 from 0 to 255, or floating-point numbers from "
            "0 to 1. Convert the values."
        )
    return np.ascontiguousarray(array[..., 0] if array.shape[2:] == (1,) else array)
