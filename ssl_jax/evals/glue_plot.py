"""GLUE's tasks relative to people: published systems, and the runs of a study beside them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ssl_jax.data.glue import TASKS
from ssl_jax.evals.glue import PUBLISHED, TaskResult, relative_scores, relative_to_human
from ssl_jax.evals.plots import COLOURS, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DISTANCE = 0.04
"""Between two tasks that stand beside each other."""


def draw_relative(results: Mapping[str, TaskResult]) -> "Figure":
    """Each task's score divided by that of people, which is the line at 1.

    A task is a line over the published systems, then the median of the study with a bar from its lowest to its highest
    run. The black line is the mean of the tasks that have been published.

    Args:
      results: by task.
    """
    figure, axes = new_axes(title="GLUE: scores relative to people", width=8.0, height=4.8)
    axes.axhline(1.0, color="black", linestyle=":", linewidth=1.4, zorder=1)
    names, own = [each.name for each in PUBLISHED], len(PUBLISHED) + 0.2
    published = {task: relative_scores(task) for task in results}
    medians = {task: relative_to_human(task, result.median) for task, result in results.items()}
    for number, (task, result) in enumerate(results.items()):
        colour = COLOURS[number % len(COLOURS)]
        scores = published[task]
        axes.plot([names.index(name) for name in scores], scores.values(), "o-", color=colour, markersize=4)
        at = own + _DISTANCE * (number - (len(results) - 1) / 2)
        spread = [relative_to_human(task, score) for score in (min(result.scores), max(result.scores))]
        axes.plot([at, at], spread, color=colour, linewidth=1.5, marker="_", markersize=7)
        axes.plot([at], [medians[task]], "D", color=colour, markersize=4.5, label=TASKS[task].folder)
    shared = [task for task in results if len(published[task]) == len(names)]
    if len(shared) > 1:
        means = [sum(published[task][name] for task in shared) / len(shared) for name in names]
        mean = sum(medians[task] for task in shared) / len(shared)
        without = "".join(f"\nwithout {TASKS[task].folder}" for task in results if task not in shared)
        axes.plot(range(len(names)), means, "o-", color="black", markersize=5, linewidth=2.4)
        beside = own + _DISTANCE * (len(results) + 1) / 2
        axes.plot([beside], [mean], "D", color="black", markersize=6.5, label=f"mean{without}")
    axes.text(-0.3, 1.0, "people", va="bottom", fontsize=9)
    runs = len(next(iter(results.values())).scores)
    axes.set_xlim(-0.35, own + 0.5)
    axes.set_xticks(
        [*range(len(names)), own], [*names, "this study" + (f"\n(median of {runs})" if runs > 1 else "")]
    )
    axes.set_ylabel("score / score of people")
    axes.set_xlabel("published systems and people: test sets; this study: validation sets", fontsize=9)
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
