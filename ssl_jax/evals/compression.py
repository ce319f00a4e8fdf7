"""Image compression: rates of codecs, PSNR and SSIM of what they leave, and curves of both."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from ssl_jax.errors import UserError
from ssl_jax.evals.plots import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = 7
"""Height and width of the windows that SSIM compares."""
QUALITIES = (1, 5, 10, 20, 40, 60, 80, 95)
"""Of JPEG and WebP."""
WEBP_HEADER = 12 + 8 + 10
"""Bytes of a lossy WebP file before its first partition: RIFF, the chunk's name and length, VP8's frame header."""


class Rate(NamedTuple):
    """A codec at one setting.

    Attributes:
      bits: bits a pixel, of all bytes.
      bare: bits a pixel without headers.
      psnr: peak signal-to-noise ratio, dB.
      ssim: structural similarity, at most 1.
    """

    bits: float
    bare: float
    psnr: float
    ssim: float


def psnr(reconstructions: np.ndarray, images: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit images, by the mean squared error of them all; infinite if equal."""
    error = np.square(reconstructions.astype(float) - images.astype(float)).mean()
    return psnr_of_error(error, peak=255)


def psnr_of_error(squared_error: float, *, peak: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error; infinite if it is 0.

    Example:
      >>> psnr_of_error(0.01)
      20.0
    """
    return float(10 * np.log10(peak**2 / squared_error)) if squared_error > 0 else float("inf")


def ssim(reconstructions: np.ndarray, images: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004), over all 7x7 windows within the images, channels and images.

    Windows are weighted evenly, with sample variances, K1 = 0.01 and K2 = 0.03.

    Args:
      reconstructions, images: uint8 `[images, height, width, channels]`.

    Raises:
      UserError: images of less than 7 pixels a side.
    """
    if min(images.shape[1:3]) < WINDOW:
        raise UserError(f"SSIM: images of {images.shape[1]}x{images.shape[2]}; expected at least 7x7 pixels.")
    first, second = reconstructions.astype(float), images.astype(float)

    def mean(x: np.ndarray) -> np.ndarray:
        sums = np.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0))).cumsum(1).cumsum(2)
        below, above = sums[:, WINDOW:], sums[:, :-WINDOW]
        boxes = below[:, :, WINDOW:] - below[:, :, :-WINDOW] - above[:, :, WINDOW:] + above[:, :, :-WINDOW]
        return boxes / WINDOW**2

    sample = WINDOW**2 / (WINDOW**2 - 1)
    mean1, mean2 = mean(first), mean(second)
    variance1 = sample * (mean(first * first) - mean1**2)
    variance2 = sample * (mean(second * second) - mean2**2)
    covariance = sample * (mean(first * second) - mean1 * mean2)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean1 * mean2 + c1) * (2 * covariance + c2)
    return float((likeness / ((mean1**2 + mean2**2 + c1) * (variance1 + variance2 + c2))).mean())


def rate(reconstructions: np.ndarray, images: np.ndarray, *, size: int, headers: int) -> Rate:
    """The rate of images that were compressed.

    Args:
      reconstructions, images: uint8 `[images, height, width, channels]`, after and before.
      size: bytes of all files.
      headers: bytes of these that are headers.
    """
    pixels = np.prod(images.shape[:3])
    return Rate(
        8 * size / pixels,
        8 * (size - headers) / pixels,
        psnr(reconstructions, images),
        ssim(reconstructions, images),
    )


def pillow_rates(images: np.ndarray, kind: str) -> list[Rate]:
    """Rates of Pillow's codecs, with a file for each image, by quality.

    Args:
      images: uint8 `[images, height, width, channels]`.
      kind: JPEG or WEBP.
    """
    return [_pillow_rate(images, kind, quality) for quality in QUALITIES]


def _pillow_rate(images: np.ndarray, kind: str, quality: int) -> Rate:
    options = {"optimize": True} if kind == "JPEG" else {"method": 6}
    size, headers, reconstructions = 0, 0, []
    for image in images:
        mode = "L" if image.shape[-1] == 1 else "RGB"
        picture = Image.fromarray(image[..., 0] if mode == "L" else image)
        file = io.BytesIO()
        picture.save(file, kind, quality=quality, **options)
        content = file.getvalue()
        size += len(content)
        headers += len(content) - len(jpeg_scan(content)) if kind == "JPEG" else WEBP_HEADER
        with Image.open(io.BytesIO(content)) as opened:
            reconstructions.append(np.asarray(opened.convert(mode)).reshape(image.shape))
    return rate(np.stack(reconstructions), images, size=size, headers=headers)


def jpeg_scan(content: bytes) -> bytes:
    """The entropy-coded data of a baseline JPEG file: all after its scan header, but for the marker at the end."""
    place = 2  # after the marker that begins the file
    while True:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        place += 2 + length
        if marker == 0xDA:
            return content[place:-2]


def draw_rates(rates: Mapping[str, Sequence[Rate]]) -> dict[str, "Figure"]:
    """PSNR and SSIM of each codec against its bits a pixel; without headers, dashed.

    Args:
      rates: by codec.

    Returns:
      The figures by metric, "psnr" and "ssim".
    """
    figures = {}
    for metric, name in (("psnr", "PSNR (dB)"), ("ssim", "SSIM")):
        figures[metric], axes = new_axes(title=f"{name} of held-out images against their size")
        for (codec, points), colour in zip(rates.items(), COLOURS, strict=False):
            for size, style in (("bits", "-"), ("bare", "--")):
                line = sorted((getattr(p, size), getattr(p, metric)) for p in points)
                axes.plot(
                    *zip(*line, strict=True),
                    style,
                    marker="o",
                    markersize=3.5,
                    color=colour,
                    label=codec if size == "bits" else None,
                )
        axes.plot([], [], "--", color="gray", label="without headers")
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_xlabel("bits a pixel")
        axes.set_ylabel(name)
        axes.legend(frameon=False, fontsize=8)
    return figures
