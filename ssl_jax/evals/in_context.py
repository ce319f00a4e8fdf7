"""What a model learns from the examples in its context, beside what could be learnt from them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from etils import epath
from matplotlib.ticker import PercentFormatter

from ssl_jax.evals.plots import COLOURS, new_axes, save_figure

QUERIES = {0: "new queries", 1: "queries shown before"}


@dataclass(frozen=True)
class Point:
    """Accuracy of one family after `shots` examples.

    shown: whether an example has shown the query. error: standard error over the sequences, whose functions are drawn
    independently. ideal: the share that a learner who knows the family gets right on average. chance: that of the same
    learner without examples.
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
    families: Iterable[str], right: np.ndarray, label: np.ndarray, shown: np.ndarray, ideal: np.ndarray
) -> list[Point]:
    """Points by family, by whether the query was shown, by shots; those without a query are left out.

    families: names in the order of `label [sequences]`. right: `[sequences, pairs]`, 1 where the answer was. shown and
    ideal: likewise, see `FunctionSequences.with_ideal`.
    """
    points = []
    for number, family in enumerate(families):
        for known in (0, 1):
            for shots in range(right.shape[1]):
                rows = (label == number) & (shown[:, shots] == known)
                if not (queries := int(rows.sum())):
                    continue
                accuracy = float(right[rows, shots].mean())
                error = (accuracy * (1 - accuracy) / queries) ** 0.5
                chance = float(ideal[label == number, 0].mean())
                share = float(ideal[rows, shots].mean())
                points.append(Point(family, bool(known), shots, queries, accuracy, error, share, chance))
    return points


def log_points(
    points: Iterable[Point], trained: Iterable[Point], shots: Iterable[int], log: Callable[[str], None]
) -> None:
    """Prints the points at these numbers of examples, a table for each curve.

    points: on functions never trained on. trained: on new sequences of functions that were.
    """
    points, shots = list(points), list(shots)
    on_trained = {(point.curve, point.shots): point for point in trained}
    for curve in dict.fromkeys(point.curve for point in points):
        own = [point for point in points if point.curve == curve and point.shots in shots]
        seen = [on_trained.get((curve, point.shots)) for point in own]
        rows = {
            "examples": [f"{point.shots}" for point in own],
            "model": [f"{point.accuracy:.1%}" for point in own],
            "standard error": [f"{point.error:.1%}" for point in own],
            "ideal learner": [f"{point.ideal:.1%}" for point in own],
            "model, training f": [f"{point.accuracy:.1%}" if point else "-" for point in seen],
        }
        log(f"\n{curve} (chance {own[0].chance:.1%})")
        for name, cells in rows.items():
            log(f"  {name:<18}" + "".join(f"{cell:>9}" for cell in cells))


def draw_points(points: Iterable[Point], title: str, file: epath.Path) -> None:
    """Accuracy against the number of examples; dashed, the ideal learner's."""
    points = list(points)
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
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(-0.02, 1.04)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    save_figure(figure, file)


def as_table(splits: Mapping[str, Iterable[Point]]) -> dict[str, list[dict]]:
    """For a JSON file."""
    return {split: [asdict(point) for point in points] for split, points in splits.items()}
