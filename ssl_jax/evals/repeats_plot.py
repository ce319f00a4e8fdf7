"""Curves of runs that differ in their seed alone."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_jax.evals.metric_names import is_share
from ssl_jax.evals.plots import COLOURS, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[int, float]]
"""(step, value) pairs."""


def draw_repeats(
    panels: Mapping[str, Mapping[str, Sequence[Curve]]], name: str, lines: Sequence[str] = ()
) -> "Figure":
    """A panel for each task: every run as a thin line, the mean of a source as a thick one.

    Args:
      panels: by title, by source, the curves of the seeds, which have the same steps.
      name: of what is drawn.
      lines: a table to print below the panels.
    """
    rows, height = -(-len(panels) // 2), 0.17 * len(lines)
    figure = new_figure((9.5, 3.1 * rows + height))
    grid = figure.subplots(rows, 2, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    for axes, (title, sources) in zip(grid.flat, panels.items(), strict=False):
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        for (source, curves), colour in zip(sources.items(), COLOURS, strict=False):
            steps = [step for step, _ in curves[0]]
            values = np.array([[value for _, value in curve] for curve in curves])
            if len(values) > 1:
                axes.plot(steps, values.T, color=colour, linewidth=0.7, alpha=0.45)
            axes.plot(steps, values.mean(0), color=colour, linewidth=2.0, label=source)
        axes.set_ylim(bottom=0)
        if is_share(name):
            percent(axes.yaxis)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel(name, fontsize=9)
        axes.legend(frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, height / figure.get_figheight(), 1, 1))
    figure.text(0.02, 0.01, "\n".join(lines), family="monospace", fontsize=8, va="bottom")
    return figure
