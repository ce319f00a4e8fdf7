"""What is learnt when: steps to measure at, when a class of words is learnt, and accuracies at equal word frequency."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

LEAST_IN_BIN = 5
"""Words of a class in a bin of frequency, for the bin to count as one that the class has."""
LEAST_RIGHT = 5
"""Words that must be right at the end for a class to count as learnt."""


def log_spaced(steps: Sequence[int], most: int) -> list[int]:
    """At most so many of these steps, about equally spaced in their logarithms; the first and the last among them.

    Args:
      steps: ascending, positive.
      most: at least 2.

    Example:
      >>> log_spaced(range(100, 3100, 100), 6)
      [100, 200, 400, 800, 1500, 3000]
    """
    wanted = np.geomspace(steps[0], steps[-1], most)
    return sorted({min(steps, key=lambda step: abs(math.log(step / one))) for one in wanted})


def half_step(steps: Sequence[int], accuracies: Sequence[float], words: int) -> float | None:
    """The step at which half of the last accuracy is reached for the first time, between steps by their logarithms.

    Args:
      steps: ascending, positive.
      accuracies: at these steps.
      words: number of words that the accuracies are of.

    Returns:
      The step; the first one if half is reached there already; None if too few words are right at the end.

    Example:
      >>> half_step([100, 200, 400], [0.0, 0.2, 0.8], 100), half_step([100, 200], [0.0, 0.001], 100)
      (252.0, None)
    """
    if accuracies[-1] * words < LEAST_RIGHT - 1e-6:
        return None
    half = accuracies[-1] / 2
    reached = next(i for i, accuracy in enumerate(accuracies) if accuracy >= half)
    if reached == 0:
        return float(steps[0])
    low, high = accuracies[reached - 1], accuracies[reached]
    share = (half - low) / (high - low)
    return round(steps[reached - 1] * (steps[reached] / steps[reached - 1]) ** share, 0)


class Matching(NamedTuple):
    """A distribution over word frequencies that several classes of words can be given.

    Attributes:
      lowest, highest: how often the words are in the training text.
      weights: by class, `[words of the class]`, which add up to 1; 0 for words of other frequencies. Classes that lack
        words of some of these frequencies are not there.
    """

    lowest: int
    highest: int
    weights: Mapping[str, np.ndarray]

    def words(self, name: str) -> int:
        """Number of words of a class that count."""
        return int((self.weights[name] > 0).sum())


def match_frequencies(counts: Mapping[str, np.ndarray]) -> Matching | None:
    """Weights with which the words of all classes have one distribution over the bins of frequency.

    A bin holds the words with counts from 2^k to below 2^(k+1). The bins that are used lie side by side: of all such
    ranges, the one that most classes have words in throughout; of several, the one with most words. Within the range,
    the bins weigh as they do among all words of these classes.

    Args:
      counts: by class, int `[words]`, how often each word is in the training text.

    Returns:
      The weights; None if no two classes share a bin.
    """
    bins = {name: np.log2(np.maximum(count, 1)).astype(int) for name, count in counts.items()}
    most = max(int(of.max(initial=0)) for of in bins.values()) + 1
    tables = {name: np.bincount(of[counts[name] > 0], minlength=most) for name, of in bins.items()}
    best: tuple[tuple[int, int], int, int, list[str]] | None = None
    for low in range(most):
        for high in range(low + 1, most + 1):
            names = [name for name, table in tables.items() if (table[low:high] >= LEAST_IN_BIN).all()]
            value = (len(names), sum(int(tables[name][low:high].sum()) for name in names))
            if len(names) > 1 and (best is None or value > best[0]):
                best = value, low, high, names
    if best is None:
        return None
    _, low, high, names = best
    shares = sum(tables[name][low:high] for name in names) / best[0][1]
    weights = {}
    for name in names:
        inside = (bins[name] >= low) & (bins[name] < high) & (counts[name] > 0)
        place = np.where(inside, bins[name] - low, 0)
        weights[name] = np.where(inside, (shares / tables[name][low:high])[place], 0.0)
    return Matching(2**low, 2**high - 1, weights)
