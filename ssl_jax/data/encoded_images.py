"""Pictures in the bytes of PNG, JPEG and other files, damaged ones among them."""

import io
import logging
import threading
from typing import Literal

from PIL import ExifTags, Image, UnidentifiedImageError

from ssl_jax.data.image_source import REDUCING_GAP, Canvas, Example
from ssl_jax.errors import UserError

Unreadable = Literal["stop", "skip"]

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
"""What may be opened, whatever the name of the file says; Pillow's other formats run code that few have read."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each orientation of a camera, by its EXIF number."""

_log = logging.getLogger(__name__)
Image.init()  # of all formats, here, since threads open images at once


def decode(data: bytes, canvas: Canvas, label: int) -> Example:
    """The example of an encoded picture: upright by its EXIF orientation, and the first frame of several.

    Raises:
      Exception: of many kinds, whatever Pillow raises on bytes that are no picture, end early or unpack to too much.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        # A much larger JPEG is decoded at a half, a quarter or an eighth of its size, in a fraction of the time.
        width, height = canvas.shrunk(image.size)
        image.draft(canvas.mode, (int(REDUCING_GAP * width), int(REDUCING_GAP * height)))
        image.load()
        upright = _UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation))
        return canvas.fit(image if upright is None else image.transpose(upright), label)


class EncodedImages:
    """A source of encoded pictures, which stops at the first damaged one, or skips them.

    A skipped picture is told of once, by a warning with a running count; the next readable one takes its place.

    Subclasses give `read`, `called` and `__len__`.
    """

    name: str

    def __init__(self, canvas: Canvas, unreadable: Unreadable) -> None:
        self._canvas, self._unreadable = canvas, unreadable
        self._damaged: set[int] = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        raise NotImplementedError

    def read(self, index: int) -> tuple[bytes, int]:
        """An encoded picture and its label."""
        raise NotImplementedError

    def called(self, index: int) -> str:
        """What messages call it."""
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
                self._tell(candidate, error)
        raise UserError(
            f"data source {self.name!r}: none of its {len(self):,} images can be read; the warnings above say why."
        )

    def _tell(self, index: int, error: Exception) -> None:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = f"it is none of {', '.join(FORMATS)}"
        if self._unreadable == "stop":
            raise UserError(
                f"{self.called(index)}: cannot be read as an image ({reason}). Remove or replace it, or leave out all "
                "such images with --data.unreadable skip."
            ) from error
        with self._lock:
            if index in self._damaged:
                return
            self._damaged.add(index)
            count = len(self._damaged)
        _log.warning(
            "%s: skipped, cannot be read as an image (%s); %d unreadable so far",
            self.called(index),
            reason,
            count,
        )
