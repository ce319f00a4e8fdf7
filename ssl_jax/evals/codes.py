"""How the codes of a quantiser are used, and what they cost under their frequencies at each place."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_jax.evals.plots import COLOURS, logarithmic_ticks, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class CodeUse(NamedTuple):
    """How often the codes of a codebook are chosen.

    Attributes:
      counts: int `[codes]`.
      used: number of codes that are chosen at all.
      bits: entropy of a code.
    """

    counts: np.ndarray
    used: int
    bits: float

    @property
    def perplexity(self) -> float:
        """The number of equally frequent codes that have the same entropy: from 1 to the number of codes."""
        return 2.0**self.bits


def code_use(codes: np.ndarray, size: int) -> CodeUse:
    """The use of a codebook of `size` codes by `codes`, int `[...]`, at least one.

    Example:
      >>> code_use(np.array([0, 0, 3, 3]), 4).perplexity
      2.0
    """
    counts = np.bincount(codes.reshape(-1), minlength=size)
    shares = counts[counts > 0] / counts.sum()
    return CodeUse(counts, len(shares), float(max(0.0, -(shares * np.log2(shares)).sum())))


def place_frequencies(codes: np.ndarray, size: int) -> np.ndarray:
    """Probability `[places, size]` of every code at each place, counted in `codes [images, places]` plus one each."""
    counts = np.stack([np.bincount(column, minlength=size) for column in codes.T]) + 1.0
    return counts / counts.sum(1, keepdims=True)


def place_nats(frequencies: np.ndarray, codes: np.ndarray) -> float:
    """Mean nats of a code of `codes [images, places]` under `place_frequencies`."""
    return -float(np.log(frequencies[np.arange(codes.shape[1]), codes]).mean())


def sample_places(frequencies: np.ndarray, images: int, seed: int) -> np.ndarray:
    """Codes int32 `[images, places]`, each drawn by itself from the frequencies at its place."""
    rng = np.random.default_rng(seed)
    columns = [rng.choice(frequencies.shape[1], images, p=row) for row in frequencies]
    return np.stack(columns, 1).astype(np.int32)


def draw_code_use(use: CodeUse, *, title: str) -> "Figure":
    """The share of each code, from the most frequent one to the last, beside equal shares for all."""
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
    axes.axhline(1 / size, color=COLOURS[1], linewidth=1.1, linestyle="--", label="equal shares")
    axes.set_xlim(0, size + 1)
    axes.set_yscale("log")
    logarithmic_ticks(axes.yaxis)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.set_xlabel("codes, the most frequent first")
    axes.set_ylabel("share of all places")
    axes.legend(frameon=False, fontsize=8)
    return figure
