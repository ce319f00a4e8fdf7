"""The table of image codecs at several rates."""

from collections.abc import Mapping, Sequence

from ssl_jax.evals.compression import Rate
from ssl_jax.reports.tables import aligned


def rate_table(rates: Mapping[str, Sequence[Rate]]) -> list[str]:
    """Lines of a table with a row for each rate of each codec."""
    rows = [
        [name, f"{r.bits:.3f}", f"{r.bare:.3f}", f"{r.psnr:.2f}", f"{r.ssim:.3f}"]
        for name, points in rates.items()
        for r in points
    ]
    return aligned([["", "bits a pixel", "without headers", "PSNR (dB)", "SSIM"], *rows])
