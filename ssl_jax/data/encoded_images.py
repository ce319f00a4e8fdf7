"""Images as encoded bytes of PNG, JPEG and other formats, some of which may be damaged."""

import io
import logging
import threading
from typing import Any, Literal, Self

from PIL import ExifTags, Image, UnidentifiedImageError

from ssl_jax.data.image_source import REDUCING_GAP, Canvas, Example, with_attributes
from ssl_jax.errors import UserError

Unreadable = Literal["stop", "skip"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""Formats that are read, whatever the file name says. Pillow's decoders of other formats are less tested."""

QUALITY = 95
"""Of the JPEG that a shrunk image is stored as."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes each EXIF orientation."""

_log = logging.getLogger(__name__)
Image.init()  # registers all formats now, because several threads open images at once


def decode(data: bytes, canvas: Canvas, label: int) -> Example:
    """Decodes an image: the first frame, rotated upright according to its EXIF orientation.

    Raises:
      Exception: of many types, from Pillow: the bytes are no image, are truncated or decode to too many pixels.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return canvas.fit(_upright(image, canvas), label)


def encode_fitted(data: bytes, canvas: Canvas) -> bytes:
    """An image as it is stored for a canvas, so that reading it costs no more than it must.

    An image that fits keeps its bytes, so that `decode` makes the same pixels of them. One that has to be shrunk is
    shrunk as `decode` does it, and becomes a JPEG of `QUALITY` with colour in full resolution.

    Raises:
      Exception: as `decode` does.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        fits = canvas.fitted_size(image.size) == image.size
        upright = _upright(image, canvas)  # of an image that fits, too: it may be damaged
        if fits:
            return data
        buffer = io.BytesIO()
        canvas.fitted(upright).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
        return buffer.getvalue()


def _upright(image: Image.Image, canvas: Canvas) -> Image.Image:
    """The pixels of an opened image, rotated upright."""
    # A much larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, in a fraction of the time.
    width, height = canvas.fitted_size(image.size)
    image.draft(canvas.mode, (int(REDUCING_GAP * width), int(REDUCING_GAP * height)))
    image.load()
    operation = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
    return image if operation is None else image.transpose(operation)


def reason_of(error: Exception) -> str:
    """Why `decode` could not decode an image, for a message."""
    if isinstance(error, UnidentifiedImageError):
        return f"it is none of {', '.join(FORMATS)}"
    return " ".join(str(error).split()) or type(error).__name__


class EncodedImages:
    """Base class of sources of encoded images, which stops at the first damaged image or skips damaged images.

    The next readable image replaces a skipped one. Each skipped image is logged once, as a warning with a running
    count.

    Subclasses implement `read`, `describe` and `__len__`.
    """

    name: str

    def __init__(self, canvas: Canvas, unreadable: Unreadable) -> None:
        self._canvas, self._unreadable = canvas, unreadable
        self._damaged: set[int] = set()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> tuple[bytes, int]:
        """The encoded image and its label."""
        raise NotImplementedError

    def describe(self, index: int) -> str:
        """The name of an image in messages."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> Example:
        for step in range(len(self)):
            candidate = (index + step) % len(self)
            if candidate in self._damaged:
                continue
            data, label = self.read(candidate)
            try:
                return decode(data, self._canvas, label)
            except Exception as error:  # Pillow's decoders raise errors of a dozen types on damaged data
                self.report(candidate, error)
        raise UserError(
            f"data source {self.name!r}: none of its {len(self):,} images can be read; the warnings above say why."
        )

    def original(self, index: int) -> tuple[int, int, int] | None:
        """(width, height, channels) of an image as its header says; None if it cannot be read."""
        try:
            with Image.open(io.BytesIO(self.read(index)[0]), formats=FORMATS) as image:
                turned = image.getexif().get(ExifTags.Base.Orientation, 1) > 4
                width, height = image.size[::-1] if turned else image.size
                return width, height, 1 if image.mode[0] in "1LIF" else 3
        except Exception:  # of many types; whoever reads the image is told
            return None

    def on(self, canvas: Canvas) -> Self:
        """The same images, fitted to another canvas. Each damaged one is still logged once."""
        return with_attributes(self, _canvas=canvas)

    def report(self, index: int, error: Exception) -> None:
        """Stops at a damaged image, or logs that it is skipped, once.

        Args:
          index: of the image.
          error: of `decode`.

        Raises:
          UserError: if damaged images are not skipped.
        """
        reason = reason_of(error)
        if self._unreadable == "stop":
            raise UserError(
                f"{self.describe(index)}: cannot be read as an image ({reason}). Remove or replace it, or skip all "
                "such images with --data.unreadable skip."
            ) from error
        with self._lock:
            if index in self._damaged:
                return
            self._damaged.add(index)
            count = len(self._damaged)
        _log.warning(
            "%s: skipped, cannot be read as an image (%s); %d unreadable so far",
            self.describe(index),
            reason,
            count,
        )
