"""How well discrete units of speech agree with phones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_jax.evals.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class UnitQuality(NamedTuple):
    """Agreement of units and phones over frames (arXiv:2106.07447, section 4.5).

    Attributes:
      phone_purity: share of frames whose phone is the most frequent one of their unit.
      unit_purity: share of frames whose unit is the most frequent one of their phone.
      pnmi: mutual information divided by the entropy of the phones: the share of their uncertainty that units remove.
      nmi: twice the mutual information, divided by the sum of both entropies:
        many units that split the phones do not raise it.
    """

    phone_purity: float
    unit_purity: float
    pnmi: float
    nmi: float


def unit_quality(units: np.ndarray, phones: np.ndarray) -> UnitQuality:
    """Compares the units and the phones of the same frames.

    Args:
      units: int `[frames]`, from 0.
      phones: int `[frames]`; frames with a negative phone are left out.

    Raises:
      ValueError: no frame has a phone.
    """
    counts = joint_counts(units, phones)
    if not counts.any():
        raise ValueError("no frame has a phone")
    joint = counts / counts.sum()
    of_units, of_phones = joint.sum(1), joint.sum(0)
    there = joint > 0
    information = (joint[there] * np.log(joint[there] / np.outer(of_units, of_phones)[there])).sum()
    units_entropy, phones_entropy = (-(p[p > 0] * np.log(p[p > 0])).sum() for p in (of_units, of_phones))
    both = units_entropy + phones_entropy
    return UnitQuality(
        float(joint.max(1).sum()),
        float(joint.max(0).sum()),
        float(information / phones_entropy) if phones_entropy > 0 else 0.0,
        float(2 * information / both) if both > 0 else 0.0,
    )


def joint_counts(units: np.ndarray, phones: np.ndarray, shape: tuple[int, int] = (0, 0)) -> np.ndarray:
    """How often each unit and each phone are those of one frame, int `[units, phones]`.

    Args:
      units: int `[frames]`, from 0.
      phones: int `[frames]`; frames with a negative phone are left out.
      shape: at least so many units and phones.
    """
    known = phones >= 0
    units, phones = units[known], phones[known]
    sizes = [max(size, int(of.max(initial=-1)) + 1) for size, of in zip(shape, (units, phones), strict=True)]
    counts = np.zeros(sizes, np.int64)
    np.add.at(counts, (units, phones), 1)
    return counts


def draw_unit_phones(counts: np.ndarray, phones: Sequence[str], title: str) -> "Figure":
    """The shares of the phones in the frames of each unit, as a heat map; unused units are left out.

    Args:
      counts: see `joint_counts`.
      phones: names.
      title: at the top.
    """
    used = np.flatnonzero(counts.sum(1))
    shares = counts[used] / counts[used].sum(1, keepdims=True)
    order = np.lexsort(
        (-shares.max(1), shares.argmax(1))
    )  # by the most frequent phone, the purest unit first
    size = 1.6 + 0.22 * len(phones), 1.2 + min(0.14 * len(used), 24)
    figure = new_figure(size, layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares[order], vmin=0, vmax=1, cmap="Blues", aspect="auto", interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xticks(range(len(phones)), phones, rotation=90, fontsize=7)
    every = -(-len(used) // 100)  # names that would overlap are left out
    axes.set_yticks(range(0, len(used), every), used[order][::every], fontsize=6)
    axes.set_xlabel("phone")
    axes.set_ylabel("unit")
    figure.colorbar(picture, label="share of the unit's frames", shrink=0.6)
    return figure
