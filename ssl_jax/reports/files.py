"""The files that reports leave in the run folder, written by one process."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_jax.data.wav import write_wav
from ssl_jax.evals.plots import save_figure
from ssl_jax.files import write_json, write_whole
from ssl_jax.training.experiment import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_plot(report: Report, name: str, figure: "Figure") -> None:
    """Writes plots/NAME.png. UserError if it cannot be written."""
    save_picture(report, f"plots/{name}.png", figure)


def save_picture(report: Report, path: str, figure: "Figure") -> None:
    """Writes a figure to a path in the run folder. UserError if it cannot be written."""
    if report.writes:
        save_figure(figure, report.folder / path)


def save_json(report: Report, name: str, content: Any) -> None:
    """Writes NAME.json. UserError if it cannot be written."""
    if report.writes:
        write_json(report.folder / f"{name}.json", content)


def save_text(report: Report, path: str, text: str) -> None:
    """Writes text to a path in the run folder. UserError if it cannot be written."""
    if report.writes:
        write_whole(report.folder / path, text)


def save_wav(report: Report, path: str, waveform: np.ndarray, rate: int) -> None:
    """Writes `waveform [samples]` to a path in the run folder, and logs what of it is clipped.

    UserError if it cannot be written.
    """
    if report.writes and (clipped := write_wav(report.folder / path, waveform, rate)):
        report.log(f"{path}: {clipped:,} of {len(waveform):,} samples are beyond full scale and were clipped")
