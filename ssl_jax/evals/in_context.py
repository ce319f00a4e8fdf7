"""What a model learns from the examples in its context, beside what an ideal learner would."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ssl_jax.evals.plots import COLOURS, new_axes, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUERIES = {False: "new queries", True: "queries shown before"}


@dataclass(frozen=True)
class Point:
    """Accuracy on the functions of one family after some examples.

    Attributes:
      family: name of the family.
      shown: whether an example has shown the query.
      shots: number of examples before the query.
      queries: number of queries that the accuracy is a mean of.
      accuracy: of the model.
      error: standard error over the functions, which are drawn independently; sequences of one function are not.
      ideal: the accuracy that a learner who knows the functions of the split expects.
      chance: the accuracy that the same learner expects without examples.
    """

    family: str
    shown: bool
    shots: int
    queries: int
    accuracy: float
    error: float
    ideal: float
    chance: float

    @property
    def curve(self) -> str:
        """Name of the curve this is a point of."""
        return f"{self.family}, {QUERIES[self.shown]}"


def accuracy_by_shots(
    families: Iterable[str],
    right: np.ndarray,
    label: np.ndarray,
    shown: np.ndarray,
    ideal: np.ndarray,
    function: np.ndarray,
) -> list[Point]:
    """Points by family, by whether the query was shown, and by shots; those without a query are left out.

    Args:
      families: names, in the order of the labels.
      right: float `[sequences, pairs]`, 1 where the model's answer was right, else 0.
      label: int `[sequences]`, of the family.
      shown, ideal: `[sequences, pairs]`; see `FunctionSequences.with_ideal`.
      function: int `[sequences]`, which function each has.
    """
    points = []
    for number, family in enumerate(families):
        for known in (0, 1):
            for shots in range(right.shape[1]):
                rows = (label == number) & (shown[:, shots] == known)
                if not (queries := int(rows.sum())):
                    continue
                accuracy = float(right[rows, shots].mean())
                error = clustered_error(right[rows, shots], function[rows])
                chance = float(ideal[label == number, 0].mean())
                share = float(ideal[rows, shots].mean())
                points.append(Point(family, bool(known), shots, queries, accuracy, error, share, chance))
    return points


def clustered_error(values: np.ndarray, clusters: np.ndarray) -> float:
    """Standard error of the mean of values that are independent of each other in different clusters only.

    It is the root of the sum over clusters of their squared sums of deviations from the mean, divided by the number of
    values (Liang and Zeger 1986, for a mean).

    Args:
      values, clusters: `[values]`.

    Example:
      >>> one, two = np.array([0.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])
      >>> clustered_error(one, np.arange(2)) == clustered_error(two, np.array([0, 0, 1, 1]))
      True
    """
    _, places = np.unique(clusters, return_inverse=True)
    sums = np.bincount(places, weights=values - values.mean(dtype=np.float64))
    return float(np.sqrt(np.square(sums).sum()) / len(values))


def draw_points(points: Sequence[Point], *, title: str) -> "Figure":
    """Accuracy against the number of examples, with two standard errors; the ideal learner's is dashed."""
    figure, axes = new_axes(title=title)
    curves = dict.fromkeys(point.curve for point in points)
    for number, (curve, colour) in enumerate(zip(curves, COLOURS, strict=False)):
        own = [point for point in points if point.curve == curve]
        shots = [point.shots + 0.04 * number for point in own]  # curves that coincide can all be seen
        accuracy = [point.accuracy for point in own]
        error = [2 * point.error for point in own]
        axes.errorbar(shots, accuracy, error, marker="o", markersize=3.5, color=colour, label=curve, zorder=3)
        axes.plot(shots, [point.ideal for point in own], color=colour, linewidth=1.2, linestyle="--")
    axes.plot([], [], color="gray", linewidth=1.2, linestyle="--", label="ideal learner")
    axes.set_xlabel("examples before the query")
    axes.xaxis.get_major_locator().set_params(integer=True)
    percent(axes.yaxis)
    axes.set_ylim(-0.02, 1.04)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
