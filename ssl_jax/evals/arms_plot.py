"""The results of runs by arm: every run a dot, the median a bar."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ssl_jax.evals.plots import COLOURS, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 0.3
"""Half the width of the bar of a median, and of the range of the dots."""


def draw_arms(
    arms: Mapping[str, Mapping[str, Sequence[float]]], baselines: Mapping[str, Mapping[str, float]], runs: str
) -> "Figure":
    """A panel for each metric, with a column for each arm and for each baseline.

    Args:
      arms: shares by metric, arm and run; runs at the same place have the same settings in all arms.
      baselines: shares by metric and name.
      runs: what a dot is, for the title.
    """
    figure = new_figure((11.0, 4.8))
    panels = figure.subplots(1, len(arms), squeeze=False)[0]
    for axes, (metric, of_arm) in zip(panels, arms.items(), strict=True):
        axes.set_title(metric.replace("_", " "), loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25, linewidth=0.6)
        for number, (values, colour) in enumerate(zip(of_arm.values(), COLOURS, strict=False)):
            step = 2 * _WIDTH / max(len(values) - 1, 1)
            places = [number - _WIDTH + step * i if len(values) > 1 else number for i in range(len(values))]
            axes.plot(places, values, "o", color=colour, markersize=4, alpha=0.75)
            _bar(axes, number, sorted(values), colour)
        for number, value in enumerate(baselines[metric].values(), len(of_arm)):
            _bar(axes, number, [value], "#3d4350")
        axes.axvline(len(of_arm) - 0.5, color="black", linewidth=0.6, linestyle=":")
        names = [textwrap.fill(name.replace("_", " "), 20) for name in (*of_arm, *baselines[metric])]
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor", fontsize=8)
        percent(axes.yaxis)
        axes.set_ylim(0, 1)
    figure.suptitle(
        f"held-out sequences; a dot is {runs}, a bar their median", x=0.01, ha="left", fontsize=11
    )
    figure.tight_layout()
    return figure


def _bar(axes, number: int, values: Sequence[float], colour: str) -> None:  # noqa: ANN001
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    axes.plot([number - _WIDTH, number + _WIDTH], [middle, middle], color=colour, linewidth=2.2)
