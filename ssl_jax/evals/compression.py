"""What images cost and how much is left of them: rates of codecs, PSNR and SSIM, and their curves."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from matplotlib.ticker import NullFormatter
from PIL import Image

from ssl_jax.errors import UserError
from ssl_jax.evals.plots import COLOURS, new_axes, save_figure
from ssl_jax.evals.tables import aligned

WINDOW = 7
"""Height and width of the windows that SSIM compares."""
QUALITIES = (1, 5, 10, 20, 40, 60, 80, 95)
"""Of JPEG and WebP."""
WEBP_HEADER = 12 + 8 + 10
"""Bytes of a lossy WebP file before its first partition: RIFF, the chunk's name and length, VP8's frame header."""


class Rate(NamedTuple):
    """A codec at one setting. bits: of a pixel, with all bytes; bare: without headers. psnr in dB; ssim at most 1."""

    bits: float
    bare: float
    psnr: float
    ssim: float


def psnr(rebuilt: np.ndarray, images: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit images, by the mean squared error of them all; infinite if equal."""
    error = np.square(rebuilt.astype(float) - images.astype(float)).mean()
    return float(10 * np.log10(255**2 / error)) if error > 0 else float("inf")


def ssim(rebuilt: np.ndarray, images: np.ndarray) -> float:
    """Mean structural similarity (Wang et al. 2004) of uint8 `[images, height, width, channels]`.

    In all 7x7 windows that lie within the image, weighted evenly, with sample variances, K1 = 0.01 and K2 = 0.03; the
    mean over windows, channels and images.

    Raises:
      UserError: images of less than 7 pixels a side.
    """
    if min(images.shape[1:3]) < WINDOW:
        raise UserError(f"SSIM: images of {images.shape[1]}x{images.shape[2]}; expected at least 7x7 pixels.")
    first, second = rebuilt.astype(float), images.astype(float)

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


def rate(rebuilt: np.ndarray, images: np.ndarray, *, size: int, headers: int) -> Rate:
    """Of uint8 `[images, height, width, channels]` that take `size` bytes in all, of which `headers` are headers."""
    pixels = np.prod(images.shape[:3])
    return Rate(
        8 * size / pixels, 8 * (size - headers) / pixels, psnr(rebuilt, images), ssim(rebuilt, images)
    )


def pillow_rates(images: np.ndarray, kind: str) -> list[Rate]:
    """Every image as a file of its own, for each of the qualities.

    images: uint8 `[images, height, width, channels]`. kind: JPEG or WEBP.
    """
    return [_pillow_rate(images, kind, quality) for quality in QUALITIES]


def _pillow_rate(images: np.ndarray, kind: str, quality: int) -> Rate:
    options = {"optimize": True} if kind == "JPEG" else {"method": 6}
    size, headers, rebuilt = 0, 0, []
    for image in images:
        mode = "L" if image.shape[-1] == 1 else "RGB"
        picture = Image.fromarray(image[..., 0] if mode == "L" else image)
        file = io.BytesIO()
        picture.save(file, kind, quality=quality, **options)
        content = file.getvalue()
        size += len(content)
        headers += len(content) - len(jpeg_scan(content)) if kind == "JPEG" else WEBP_HEADER
        with Image.open(io.BytesIO(content)) as opened:
            rebuilt.append(np.asarray(opened.convert(mode)).reshape(image.shape))
    return rate(np.stack(rebuilt), images, size=size, headers=headers)


def jpeg_scan(content: bytes) -> bytes:
    """The entropy-coded data of a baseline JPEG file: all after its scan header, but for the marker at the end."""
    place = 2  # after the marker that begins the file
    while True:
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        place += 2 + length
        if marker == 0xDA:
            return content[place:-2]


def rate_table(rates: Mapping[str, Sequence[Rate]]) -> list[str]:
    """A line for each point of each codec."""
    rows = [
        [name, f"{r.bits:.3f}", f"{r.bare:.3f}", f"{r.psnr:.2f}", f"{r.ssim:.3f}"]
        for name, points in rates.items()
        for r in points
    ]
    return aligned([["", "bits a pixel", "without headers", "PSNR (dB)", "SSIM"], *rows])


def draw_rates(rates: Mapping[str, Sequence[Rate]], folder: epath.Path) -> None:
    """psnr.png and ssim.png in the folder: each codec against its bits; without headers, dashed."""
    for figure, name in (("psnr", "PSNR (dB)"), ("ssim", "SSIM")):
        picture, axes = new_axes(title=f"{name} of held-out images against their size")
        for (codec, points), colour in zip(rates.items(), COLOURS, strict=False):
            for size, style in (("bits", "-"), ("bare", "--")):
                line = sorted((getattr(p, size), getattr(p, figure)) for p in points)
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
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("bits a pixel")
        axes.set_ylabel(name)
        axes.legend(frameon=False, fontsize=8)
        save_figure(picture, folder / f"{figure}.png")
