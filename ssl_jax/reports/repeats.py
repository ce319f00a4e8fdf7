"""Metrics of runs that differ in their seed alone: the median and the range."""

import statistics
from collections.abc import Mapping, Sequence

from ssl_jax.reports.tables import aligned

Seeds = Sequence[float | None]
"""A metric of each run; None where it is not defined."""


def repeats_table(found: Mapping[str, Mapping[str, Mapping[str, Seeds]]]) -> list[str]:
    """A line for each metric of each task, with a column for each source.

    Args:
      found: shares by task, source and name of the metric.

    Example:
      >>> print("\\n".join(repeats_table({"tags": {"new": {"f1": [0.5, 0.25, 1.0]}, "old": {"f1": [None, 0.125]}}})))
      on held-out examples in %, median (lowest to highest) of the seeds:
                                   new    old
        tags f1   50.0 (25.0 to 100.0)   12.5
    """
    sources = [*next(iter(found.values()))]
    rows = [
        [f"{task} {metric.replace('_', ' ')}", *(_range(of[source][metric]) for source in sources)]
        for task, of in found.items()
        for metric in of[sources[0]]
    ]
    title = "on held-out examples in %, median (lowest to highest) of the seeds:"
    return [title, *aligned([["", *sources], *rows])]


def _range(values: Seeds) -> str:
    known = sorted(100 * value for value in values if value is not None)
    if len(known) < 2:
        return f"{known[0]:.1f}" if known else "not defined"
    return f"{statistics.median(known):.1f} ({known[0]:.1f} to {known[-1]:.1f})"
