"""Few-shot accuracies over items and draws of the examples: a table, a picture, and figures for a file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from matplotlib.ticker import PercentFormatter

from ssl_jax.data.few_shot import Item
from ssl_jax.evals.plots import COLOURS, new_axes, save_figure

TITLES = {
    "per_token": "choice, per token",
    "sum": "choice, sum",
    "over_unconditional": "choice, over unconditional",
    "exact_match": "exact match",
}


class Accuracy(NamedTuple):
    """A share of right answers.

    standard_error: over the items, each with the mean of its draws. over_draws: standard deviation of the accuracy from
    one draw of the examples to another; None if there is only one.
    """

    accuracy: float
    standard_error: float
    over_draws: float | None


def accuracy_of(right: np.ndarray) -> Accuracy:
    """right: bool `[draws, items]`."""
    items, draws = right.mean(0), right.mean(1)
    error = float(items.std(ddof=1) / len(items) ** 0.5) if len(items) > 1 else 0.0
    return Accuracy(float(right.mean()), error, float(draws.std(ddof=1)) if len(draws) > 1 else None)


def baselines(items: Sequence[Item]) -> dict[str, float]:
    """Without looking at the input: `majority`, always the commonest output; `chance`, any of the choices if any."""
    found = {"majority": Counter(item.output for item in items).most_common(1)[0][1] / len(items)}
    if all(item.choices for item in items):
        found["chance"] = float(np.mean([1 / len(item.choices) for item in items]))
    return found


def log_table(
    metrics: Mapping[int, Mapping[str, Accuracy]], floor: Mapping[str, float], log: Callable[[str], None]
) -> None:
    """Prints a row for each number of shots, and what no model is needed for."""
    names = list(next(iter(metrics.values())))
    log("  shots" + "".join(f"{TITLES[name]:>30}" for name in names))
    for shots, row in metrics.items():
        log(f"{shots:>7}" + "".join(f"{_cell(row[name]):>30}" for name in names))
    log("  " + ", ".join(f"{name} {share:.1%}" for name, share in floor.items()))
    log("  +- standard error over the items; in brackets, standard deviation over draws of the examples")


def _cell(figure: Accuracy) -> str:
    spread = "" if figure.over_draws is None else f" ({figure.over_draws:.1%})"
    return f"{figure.accuracy:.1%} +- {figure.standard_error:.1%}{spread}"


def draw_accuracy(
    metrics: Mapping[int, Mapping[str, Accuracy]], floor: Mapping[str, float], title: str, file: epath.Path
) -> None:
    """Accuracy against the number of examples, with two standard errors; dashed, what needs no model."""
    picture, axes = new_axes(title=title)
    places = np.arange(len(metrics))
    for number, (name, colour) in enumerate(zip(next(iter(metrics.values())), COLOURS, strict=False)):
        values = [row[name].accuracy for row in metrics.values()]
        errors = [2 * row[name].standard_error for row in metrics.values()]
        beside = places + 0.03 * number  # curves that coincide can both be seen
        axes.errorbar(beside, values, errors, marker="o", markersize=3.5, color=colour, label=TITLES[name])
    for (name, share), style in zip(floor.items(), ("--", ":"), strict=False):
        axes.axhline(share, color="gray", linewidth=1.0, linestyle=style, label=name)
    axes.set_xticks(list(places), [str(shots) for shots in metrics])
    axes.set_xlabel("examples in the prompt")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize=8)
    save_figure(picture, file)
