"""What all image sources share: pictures of any size and mode on a canvas of one size, and pictures in memory."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from ssl_jax.errors import UserError

Example = dict[str, np.ndarray]

UNLABELLED = -1
REDUCING_GAP = (
    2.0  # how much larger than the canvas a picture stays that is first shrunk cheaply, as in Pillow
)


class ImageSource(Protocol):
    """Pictures at random. What `source[i]` reads depends on `i` alone; threads may read at once.

    An example is {"image": uint8 `[canvas, canvas, channels]`, "extent": int32 `[2]`, "label": int32 `[]`}: the picture
    lies in the upper left corner, `extent` is its height and width in pixels, the rest is 0; the label is -1 where
    there is none.

    Attributes:
      name: what the user calls it, for messages.
      fingerprint: changes when the pictures may have changed.
      classes: names of the labels; empty where there are no labels.
    """

    name: str
    fingerprint: str
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


class Splittable(ImageSource, Protocol):
    """A source that can hold out a share of itself, always the same."""

    def split(self, share: float) -> tuple[ImageSource, ImageSource]:
        """(the rest, the share held out). UserError if either would be empty."""
        ...


@dataclass(frozen=True)
class Canvas:
    """The square that every picture is brought to.

    size: its side in pixels. channels: 1 (gray) or 3 (red, green, blue).
    """

    size: int
    channels: int

    @property
    def mode(self) -> str:
        """Pillow's name of the channels."""
        return "L" if self.channels == 1 else "RGB"

    def shrunk(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) at which a picture of this size fits: the same, or its longer side is that of the canvas."""
        scale = min(1.0, self.size / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    def fit(self, image: Image.Image, label: int = UNLABELLED) -> Example:
        """The example of a picture: shrunk until its longer side fits (antialiased bicubic), never enlarged."""
        image = _flatten(image, self.mode)
        if (size := self.shrunk(image.size)) != image.size:
            image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=REDUCING_GAP)
        return self.place(np.asarray(image).reshape(image.height, image.width, -1), label)

    def place(self, pixels: np.ndarray, label: int = UNLABELLED) -> Example:
        """The example of uint8 pixels `[height, width, channels]` that fit as they are."""
        height, width, _ = pixels.shape
        image = np.zeros((self.size, self.size, self.channels), np.uint8)
        image[:height, :width] = pixels
        return {"image": image, "extent": np.array([height, width], np.int32), "label": np.int32(label)}


def _flatten(image: Image.Image, mode: str) -> Image.Image:
    """In the mode "L" or "RGB": palettes looked up, 16 bits cut to 8, what is transparent laid over white."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of mode {image.mode!r} have no known range; expected 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == mode else image.convert(mode)


class ImageArrays:
    """Pictures of one size in memory.

    Args:
      images: uint8 `[images, height, width, 1 or 3]`.
      labels: integers `[images]`, -1 for none.
      classes: names of the labels.
    """

    def __init__(
        self, name: str, images: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], canvas: Canvas
    ) -> None:
        self.name, self.classes = name, classes
        self._images, self._labels, self._canvas = images, labels, canvas
        # Small pictures are asked for faster than Pillow makes them.
        self._fit_as_they_are = max(images.shape[1:3]) <= canvas.size and images.shape[-1] == canvas.channels
        digest = hashlib.sha256(repr((images.shape, classes)).encode())
        for array in (images, labels.astype(np.int32)):
            digest.update(np.ascontiguousarray(array))
        self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Example:
        pixels, label = self._images[index], self._labels[index]
        if self._fit_as_they_are:
            return self._canvas.place(pixels, label)
        return self._canvas.fit(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels), label)

    def split(self, share: float) -> tuple[ImageSource, ImageSource]:
        """Holds out a random share, since arrays are often sorted by label."""
        held = heldout_count(self.name, len(self), share)
        order = np.random.default_rng(0).permutation(len(self))
        return Rows(self, np.sort(order[held:])), Rows(self, np.sort(order[:held]))


class Rows:
    """Some of the pictures of a source."""

    def __init__(self, source: ImageSource, rows: np.ndarray) -> None:
        self.name, self.classes = source.name, source.classes
        self.fingerprint = hashlib.sha256(source.fingerprint.encode() + rows.tobytes()).hexdigest()
        self._source, self._rows = source, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Example:
        return self._source[int(self._rows[index])]


def heldout_count(name: str, count: int, share: float) -> int:
    """How many of `count` pictures are held out: the share, at least one, and never all. UserError if there is one."""
    if count < 2:
        raise UserError(
            f"data source {name!r}: {count} image(s); at least 2 are needed, one of them to hold out. Give more, or "
            "another source with --data.heldout_source."
        )
    return min(max(1, round(share * count)), count - 1)
