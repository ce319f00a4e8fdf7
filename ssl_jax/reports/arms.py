"""The table of arms: ways to start the same training, over several maps and seeds, beside baselines."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ssl_jax.evals.paired import Comparison, compare_pairs
from ssl_jax.reports.tables import aligned

NOTE = (
    "p: two-sided Wilcoxon signed-rank test over the pairs, not adjusted for the number of comparisons. It is about "
    "other maps and seeds, not about other data: all runs have the same sequences, and those of one map are alike."
)


class Arm(NamedTuple):
    """The results of an arm.

    Attributes:
      rate: the learning rate that was chosen for it.
      metrics: by name, a share for each map and seed, in the same order in all arms.
      maps: the number of the map of each run.
    """

    rate: float
    metrics: Mapping[str, Sequence[float]]
    maps: Sequence[int]

    def of_maps(self, metric: str) -> list[float]:
        """The mean of each map."""
        values = self.metrics[metric]
        return [
            statistics.fmean(value for value, own in zip(values, self.maps, strict=True) if own == number)
            for number in dict.fromkeys(self.maps)
        ]


def compare_arms(arms: Mapping[str, Arm], metric: str) -> dict[str, tuple[Comparison, Comparison]]:
    """By "FIRST - SECOND", the comparison over all runs and over the means of the maps, of any two arms."""
    return {
        f"{first} - {second}": (
            compare_pairs(arms[first].metrics[metric], arms[second].metrics[metric]),
            compare_pairs(arms[first].of_maps(metric), arms[second].of_maps(metric)),
        )
        for first, second in itertools.combinations(arms, 2)
    }


def arms_table(
    arms: Mapping[str, Arm],
    baselines: Mapping[str, Mapping[str, float]],
    metric: str,
    examples: int,
) -> list[str]:
    """Lines: the metrics of each arm and each baseline, then the comparison of the arms.

    Args:
      arms: by name.
      baselines: metrics by name of the classifier.
      metric: that the arms are compared by.
      examples: number of held-out examples.
    """
    runs = next(iter(arms.values()))
    names = [*runs.metrics]
    counts = f"{_several(len({*runs.maps}), 'map')}, {_several(len(runs.maps), 'run')}"
    rows = [
        [name, f"{arm.rate:g}", *(_range(arm.metrics[each]) for each in names)] for name, arm in arms.items()
    ]
    rows += [[name, "", *(f"{100 * of[each]:.1f}" for each in names)] for name, of in baselines.items()]
    titles = ["", "learning rate", *(name.replace("_", " ") for name in names)]
    lines = [
        f"on {examples:,} held-out sequences in %, median (lowest to highest) of {counts}:",
        *aligned([titles, *rows]),
    ]
    if len(arms) < 2:
        return lines
    rows = [
        [
            pair,
            f"{100 * over_runs.difference:+.1f}",
            f"{over_runs.better} of {over_runs.pairs}",
            f"{over_maps.better} of {over_maps.pairs}",
            f"{over_runs.p:.2g}",
        ]
        for pair, (over_runs, over_maps) in compare_arms(arms, metric).items()
    ]
    titles = ["first - second", "median difference", "better in runs", "better in maps", "p"]
    return [
        *lines,
        "",
        f"{metric.replace('_', ' ')}, pairs of runs of the same map and seed:",
        *aligned([titles, *rows]),
        NOTE,
    ]


def _several(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _range(values: Sequence[float]) -> str:
    low, middle, high = (100 * each(values) for each in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})" if len(values) > 1 else f"{middle:.1f}"
