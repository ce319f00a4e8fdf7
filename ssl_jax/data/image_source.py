"""The interface of image sources, and the conversion of images of any size and mode to one size."""

import copy
import hashlib
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import numpy as np
from PIL import Image

from ssl_jax.data.stacking import stacked
from ssl_jax.errors import UserError

Example = dict[str, np.ndarray]
Source = TypeVar("Source")

UNLABELLED = -1
REDUCING_GAP = 2.0
"""A large image is first reduced cheaply, to at least this factor times its final size, as in Pillow."""


class ImageSource(Protocol):
    """A random-access source of images. `source[i]` depends on `i` only; several threads may read at once.

    An example is {"image": uint8 `[canvas, canvas, channels]`, "extent": int32 `[2]`, "label": int32 `[]`}. The picture
    is in the upper left corner, `extent` is its height and width in pixels, and all other pixels are 0. The label is -1
    for unlabelled images.

    Attributes:
      name: name in messages.
      fingerprint: changes when the images may have changed.
      classes: names of the labels; empty for unlabelled sources.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...

    def original(self, index: int) -> tuple[int, int, int] | None:
        """(width, height, channels) of an image before it is fitted; None if it cannot be read."""
        ...

    def on(self, canvas: "Canvas") -> Self:
        """The same images, fitted to another canvas."""
        ...


class Splittable(ImageSource, Protocol):
    """A source that can hold out a share of its images, deterministically."""

    def split(self, share: float) -> tuple[ImageSource, ImageSource]:
        """Splits into (training, held-out).

        Args:
          share: of the images to hold out.

        Raises:
          UserError: one of the two parts would be empty.
        """
        ...


@dataclass(frozen=True)
class Canvas:
    """The square to which all images are fitted.

    Attributes:
      size: side in pixels.
      channels: 1 (grayscale) or 3 (RGB).
    """

    size: int
    channels: int

    @property
    def mode(self) -> str:
        """Pillow's mode for these channels."""
        return "L" if self.channels == 1 else "RGB"

    def fitted_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The (width, height) after resizing: unchanged if it fits, else scaled so that the longer side fits."""
        scale = min(1.0, self.size / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def fitted(self, image: Image.Image) -> Image.Image:
        """An image in this mode, shrunk (antialiased bicubic) if it does not fit, never enlarged."""
        image = _flatten(image, self.mode)
        if (size := self.fitted_size(image.size)) != image.size:
            image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
        return image

    def fit(self, image: Image.Image, label: int = UNLABELLED) -> Example:
        """Makes the example of an image, see `fitted`."""
        image = self.fitted(image)
        return self.place(np.asarray(image).reshape(image.height, image.width, -1), label)

    def place(self, pixels: np.ndarray, label: int = UNLABELLED) -> Example:
        """Makes the example of uint8 pixels `[height, width, channels]`, which must fit without resizing."""
        return {
            name: array[0]
            for name, array in self.place_all(pixels[None], np.array([label], np.int32)).items()
        }

    def place_all(self, pixels: np.ndarray, labels: np.ndarray) -> Example:
        """Stacked examples of uint8 pixels `[images, height, width, channels]`, which must fit without resizing."""
        count, height, width, _ = pixels.shape
        images = np.zeros((count, self.size, self.size, self.channels), np.uint8)
        images[:, :height, :width] = pixels
        extents = np.tile(np.array([height, width], np.int32), (count, 1))
        return {"image": images, "extent": extents, "label": labels.astype(np.int32)}


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """Converts to mode "L" or "RGB": palettes are applied, 16 bits are cut to 8, transparency is blended with white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode!r} have no known range; expected 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


class ImageArrays:
    """Images of one size in memory.

    Args:
      name: name in messages.
      images: uint8 `[images, height, width, channels]` with 1 or 3 channels.
      labels: integers `[images]`, -1 for unlabelled.
      classes: names of the labels.
      canvas: size and channels of the examples.
    """

    def __init__(
        self, name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], canvas: Canvas
    ) -> None:
        self.name, self.classes = name, classes
        self._images, self._labels, self._canvas = images, labels, canvas
        digest = hashlib.sha256(repr((images.shape, classes)).encode())
        for array in (images, labels.astype(np.int32)):
            digest.update(np.ascontiguousarray(array))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        pixels, label = self._images[index], self._labels[index]
        # Conversion by Pillow would be slower than training on small images.
        if self.fit_as_they_are:
            return self._canvas.place(pixels, label)
        return self._canvas.fit(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), label)

    def stack(self, rows: np.ndarray) -> Example:
        """Some of the images, stacked."""
        if self.fit_as_they_are:
            return self._canvas.place_all(self._images[rows], self._labels[rows])
        return stacked([self[int(row)] for row in rows])

    @property
    def fit_as_they_are(self) -> bool:
        """Whether the images need no conversion to be examples."""
        _, height, width, channels = self._images.shape
        return max(height, width) <= self._canvas.size and channels == self._canvas.channels

    def original(self, index: int) -> tuple[int, int, int]:
        """(width, height, channels), the same for all."""
        height, width, channels = self._images.shape[1:]
        return width, height, channels

    def on(self, canvas: Canvas) -> Self:
        """The same images, fitted to another canvas."""
        return with_attributes(self, _canvas=canvas)

    def split(self, share: float) -> tuple[ImageSource, ImageSource]:
        """Splits into (training, held-out) at random, because arrays are often sorted by label."""
        held = heldout_count(self.name, len(self), share)
        order = np.random.default_rng(0).permutation(len(self))
        return Rows(self, np.sort(order[held:])), Rows(self, np.sort(order[:held]))


class Rows:
    """A subset of the images of a source.

    Args:
      source: all images.
      rows: integers `[subset]`, indices of the images.

    Attributes:
      source: as given.
    """

    def __init__(self, source: ImageSource, rows: np.ndarray) -> None:
        self.name, self.classes = source.name, source.classes
        self.fingerprint = hashlib.sha256(source.fingerprint.encode() + rows.tobytes()).hexdigest()
        self.source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        return self.source[int(self._rows[index])]

    def stack(self, rows: np.ndarray) -> Example:
        """Some of the images, stacked."""
        return read_images(self.source, self._rows[rows])

    def original(self, index: int) -> tuple[int, int, int] | None:
        """(width, height, channels) of an image before it is fitted; None if it cannot be read."""
        return self.source.original(int(self._rows[index]))

    def on(self, canvas: Canvas) -> Self:
        """The same images, fitted to another canvas."""
        return with_attributes(self, source=self.source.on(canvas))


def read_images(source: ImageSource, rows: np.ndarray) -> Example:
    """Some images of a source, stacked; at once, if the source is able to."""
    if isinstance(source, ImageArrays | Rows):
        return source.stack(rows)
    return stacked([source[int(row)] for row in rows])


def read_at_once(source: ImageSource) -> bool:
    """Whether `read_images` finds images of this source in memory as they are, in less time than threads share them."""
    while isinstance(source, Rows):
        source = source.source
    return isinstance(source, ImageArrays) and source.fit_as_they_are


def with_attributes(source: Source, **attributes: object) -> Source:
    """A copy of a source with other attributes; it shares the rest."""
    other = copy.copy(source)
    vars(other).update(attributes)
    return other


def heldout_count(name: str, count: int, share: float) -> int:
    """The number of images to hold out: the share, but at least one and never all.

    Raises:
      UserError: there are fewer than two images.
    """
    if count < 2:
        raise UserError(
            f"data source {name!r}: {count} image(s); at least 2 are needed, one of them to hold out. Give more, or "
            "another source with --data.heldout_source."
        )
    return min(max(1, round(share * count)), count - 1)
