"""Few-shot accuracies over items and draws of the examples, their baselines, and a plot of both."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ssl_jax.data.few_shot import Item
from ssl_jax.evals.plots import COLOURS, new_axes, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLES = {
    "per_token": "choice, per token",
    "sum": "choice, sum",
    "over_unconditional": "choice, over unconditional",
    "exact_match": "exact match",
}
"""Of the metrics, by name."""


class Accuracy(NamedTuple):
    """A share of right answers.

    Attributes:
      accuracy: the share.
      standard_error: over the items, each with the mean of its draws.
      over_draws: standard deviation of the accuracy from one draw of the examples to another; None if there is only
        one.
    """

    accuracy: float
    standard_error: float
    over_draws: float | None


def accuracy_of(right: np.ndarray) -> Accuracy:
    """The accuracy of `right`, bool `[draws, items]`.

    Example:
      >>> accuracy_of(np.array([[True, False, True, True]])).accuracy
      0.75
    """
    items, draws = right.mean(0), right.mean(1)
    error = float(items.std(ddof=1) / len(items) ** 0.5) if len(items) > 1 else 0.0
    return Accuracy(float(right.mean()), error, float(draws.std(ddof=1)) if len(draws) > 1 else None)


def input_free_baselines(items: Sequence[Item]) -> dict[str, float]:
    """Accuracies of answers that do not look at the input.

    Returns:
      `majority`: the most frequent output everywhere. `chance`: any of the choices, where all items have choices.
    """
    found = {"majority": Counter(item.output for item in items).most_common(1)[0][1] / len(items)}
    if all(item.choices for item in items):
        found["chance"] = float(np.mean([1 / len(item.choices) for item in items]))
    return found


def draw_accuracy(
    metrics: Mapping[int, Mapping[str, Accuracy]], baselines: Mapping[str, float], *, title: str
) -> "Figure":
    """Accuracy against the number of examples, with two standard errors; baselines are dashed.

    Args:
      metrics: by number of examples, then by metric.
      baselines: by name.
      title: at the top.
    """
    figure, axes = new_axes(title=title)
    places = np.arange(len(metrics))
    for number, (name, colour) in enumerate(zip(next(iter(metrics.values())), COLOURS, strict=False)):
        values = [row[name].accuracy for row in metrics.values()]
        errors = [2 * row[name].standard_error for row in metrics.values()]
        beside = places + 0.03 * number  # curves that coincide can both be seen
        axes.errorbar(beside, values, errors, marker="o", markersize=3.5, color=colour, label=TITLES[name])
    for (name, share), style in zip(baselines.items(), ("--", ":"), strict=False):
        axes.axhline(share, color="gray", linewidth=1.0, linestyle=style, label=name)
    axes.set_xticks(list(places), [str(shots) for shots in metrics])
    axes.set_xlabel("examples in the prompt")
    percent(axes.yaxis)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize=8)
    return figure
