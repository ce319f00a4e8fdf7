"""How the codes of a quantiser are used."""

from typing import NamedTuple

import numpy as np
from etils import epath
from matplotlib.ticker import LogLocator, NullLocator

from ssl_jax.evals.plots import COLOURS, new_axes, save_figure


class CodeUse(NamedTuple):
    """counts: int [codes]. used: how many codes were chosen at all. bits: entropy of a code, by itself."""

    counts: np.ndarray
    used: int
    bits: float

    @property
    def perplexity(self) -> float:
        """As many codes, if all were used alike, would have the same entropy; 1 to the number of codes."""
        return 2.0**self.bits


def code_use(codes: np.ndarray, size: int) -> CodeUse:
    """Of integers `codes [...]`, one at least, of a codebook of `size`."""
    counts = np.bincount(codes.reshape(-1), minlength=size)
    shares = counts[counts > 0] / counts.sum()
    return CodeUse(counts, len(shares), float(max(0.0, -(shares * np.log2(shares)).sum())))


def draw_use(use: CodeUse, file: epath.Path, *, title: str) -> None:
    """How often each code is chosen, from the most frequent one to the last, beside an even use of all."""
    size = len(use.counts)
    share = np.sort(use.counts)[::-1] / use.counts.sum()
    figure, axes = new_axes(title=title)
    axes.plot(
        np.arange(1, use.used + 1),
        share[: use.used],
        color=COLOURS[0],
        marker="." if use.used < 100 else None,
        label=f"{use.used} of {size} codes, perplexity {use.perplexity:.1f}",
    )
    axes.axhline(1 / size, color=COLOURS[1], linewidth=1.1, linestyle="--", label="all used alike")
    axes.set_xlim(0, size + 1)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel("codes, the most frequent first")
    axes.set_ylabel("share of all places")
    axes.legend(frameon=False, fontsize=8)
    save_figure(figure, file)
