"""Comparison of two settings over pairs of runs, or of examples, that have everything else in common."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Comparison(NamedTuple):
    """How the first of two settings compares with the second.

    Attributes:
      difference: median of the differences, first minus second.
      better: pairs in which the first is higher.
      worse: pairs in which it is lower.
      pairs: their number; in the others both are equal.
      p: of the two-sided Wilcoxon signed-rank test; 1 if all pairs are equal.
    """

    difference: float
    better: int
    worse: int
    pairs: int
    p: float


def compare_pairs(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compares the results of two settings, pair by pair.

    Example:
      >>> compare_pairs([0.9, 0.8, 0.7, 0.9], [0.8, 0.6, 0.4, 0.5])
      Comparison(difference=0.25, better=4, worse=0, pairs=4, p=0.125)
    """
    from scipy.stats import wilcoxon  # slow to import

    differences = np.round(np.asarray(first, np.float64) - np.asarray(second, np.float64), 9)
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    p = float(wilcoxon(differences).pvalue) if better + worse else 1.0
    return Comparison(float(np.median(differences)), better, worse, len(differences), p)


def mean_ahead(first: Sequence[float], second: Sequence[float]) -> tuple[float, float] | None:
    """By how much the mean of the first results is above that of the second.

    Returns:
      the ends of the 95 % confidence interval of Student's t over the pairs; None if all pairs differ by the same.

    Example:
      >>> low, high = mean_ahead([0.9, 0.8, 0.7, 0.9], [0.8, 0.6, 0.4, 0.5])
      >>> print(f"{low:.3f} {high:.3f}")
      0.045 0.455
    """
    from scipy.stats import ttest_rel  # slow to import

    if len(first) < 2 or not np.ptp(np.subtract(first, second)):
        return None
    interval = ttest_rel(first, second).confidence_interval(0.95)
    return float(interval.low), float(interval.high)
