"""PSNR and SSIM by their definitions, and the bytes of other codecs."""

import io

import numpy as np
import pytest
from PIL import Image

from ssl_jax.errors import UserError
from ssl_jax.evals.compression import (
    QUALITIES,
    Rate,
    draw_rates,
    jpeg_scan,
    pillow_rates,
    psnr,
    psnr_of_error,
    rate,
    ssim,
)

RNG = np.random.default_rng(0)
IMAGES = np.clip(RNG.normal(128, 30, (3, 12, 16, 1)).cumsum(1) / 6, 0, 255).astype(np.uint8)


def test_psnr():
    assert psnr(np.full((1, 2, 2, 1), 255, np.uint8), np.zeros((1, 2, 2, 1), np.uint8)) == 0
    assert psnr(np.full((1, 2, 2, 1), 10, np.uint8), np.zeros((1, 2, 2, 1), np.uint8)) == pytest.approx(
        28.1308
    )
    assert psnr(IMAGES, IMAGES) == float("inf")


def test_ssim_window_by_window():
    noisy = np.clip(IMAGES + RNG.normal(0, 20, IMAGES.shape), 0, 255).astype(np.uint8)
    found = []
    for a, b in zip(noisy[..., 0].astype(float), IMAGES[..., 0].astype(float), strict=True):
        for y in range(12 - 6):
            for x in range(16 - 6):
                first, second = a[y : y + 7, x : x + 7].ravel(), b[y : y + 7, x : x + 7].ravel()
                (v1, c), (_, v2) = np.cov(first, second)
                m1, m2 = first.mean(), second.mean()
                c1, c2 = 2.55**2, 7.65**2
                found.append((2 * m1 * m2 + c1) * (2 * c + c2) / ((m1**2 + m2**2 + c1) * (v1 + v2 + c2)))
    assert ssim(noisy, IMAGES) == pytest.approx(np.mean(found), abs=1e-10)
    assert ssim(IMAGES, IMAGES) == pytest.approx(1)
    flat = np.full_like(IMAGES, 7)  # without variance
    assert ssim(flat, flat) == pytest.approx(1)
    with pytest.raises(UserError, match="images of 6x16; expected at least 7x7"):
        ssim(IMAGES[:, :6], IMAGES[:, :6])


def test_rate_counts_bytes():
    assert rate(IMAGES, IMAGES, size=72, headers=24)[:2] == (1.0, 2 / 3)


def test_scan_of_a_jpeg():
    """A file whose scan is corrupted still has its header, and one whose scan is put back is the same."""
    file = io.BytesIO()
    Image.fromarray(IMAGES[0, ..., 0]).save(file, "JPEG", quality=50)
    content = file.getvalue()
    scan = jpeg_scan(content)
    assert content.endswith(scan + b"\xff\xd9")
    start = len(content) - 2 - len(scan)
    # The header of a gray scan is two bytes of marker, eight of content.
    assert content[start - 10 : start - 8] == b"\xff\xda"
    assert 0 < len(scan) < len(content) / 2


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pillow(kind, channels):
    rates = pillow_rates(np.repeat(IMAGES, channels, -1), kind)
    assert len(rates) == len(QUALITIES)
    assert rates[0].bits < rates[-1].bits
    assert rates[0].psnr < rates[-1].psnr
    assert rates[0].ssim < rates[-1].ssim <= 1
    assert all(0 < point.bare < point.bits for point in rates)


def test_psnr_of_an_error():
    assert psnr_of_error(1e-3) == pytest.approx(30)
    assert psnr_of_error(0.0) == float("inf")


def test_plots():
    rates = {
        "codes": [Rate(1.0, 0.5, 20.0, 0.8)],
        "JPEG": [Rate(2.0, 1.5, 25.0, 0.9), Rate(4.0, 3.5, 30.0, 0.95)],
    }
    figures = draw_rates(rates)
    assert list(figures) == ["psnr", "ssim"]
    (axes,) = figures["psnr"].axes
    assert axes.lines[2].get_xydata().tolist() == [[2.0, 25.0], [4.0, 30.0]]
    assert axes.lines[3].get_xydata().tolist() == [[1.5, 25.0], [3.5, 30.0]]
