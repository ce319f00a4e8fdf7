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


def frequency_bins(counts: np.ndarray) -> np.ndarray:
    """The bin of each count: k for counts from 2^k to below 2^(k+1); 0 for 0 as well."""
    return np.log2(np.maximum(counts, 1)).astype(int)


def match_frequencies(counts: Mapping[str, np.ndarray], least: int = LEAST_IN_BIN) -> Matching | None:
    """Weights with which the words of all classes have one distribution over the bins of frequency.

    A bin holds the words with counts from 2^k to below 2^(k+1). The bins that are used lie side by side: of all such
    ranges, the one that most classes have words in throughout; of several, the one with most words. Within the range,
    the bins weigh as they do among all words of these classes.

    Args:
      counts: by class, int `[words]`, how often each word is in the training text.
      least: words of a class in a bin, for the class to have it.

    Returns:
      The weights; None if no two classes share a bin.
    """
    bins = {name: frequency_bins(count) for name, count in counts.items()}
    most = max((int(of.max(initial=0)) for of in bins.values()), default=0) + 1
    tables = {name: np.bincount(of[counts[name] > 0], minlength=most) for name, of in bins.items()}
    best: tuple[tuple[int, int], int, int, list[str]] | None = None
    for low in range(most):
        for high in range(low + 1, most + 1):
            names = [name for name, table in tables.items() if (table[low:high] >= least).all()]
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


def choose_words(
    names: np.ndarray, counts: np.ndarray, most: int, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Chooses words of every class by chance, and more of the frequencies that most classes have.

    Args:
      names: `[words]`, the class of each.
      counts: int `[words]`, how often each is in the training text.
      most: words of a class whatever their frequency; half as many are added.
      least: words of a class, for it to be measured; words of a class in a bin, for the class to have it.

    Returns:
      Numbers of the words, class by class, and whether they were chosen whatever their frequency.
    """
    shuffled = np.random.default_rng(0).permutation(len(names))
    of_class = {
        name: some for name in sorted({*names}) if len(some := shuffled[names[shuffled] == name]) >= least
    }
    matching = match_frequencies({name: counts[some] for name, some in of_class.items()}, least)
    parts, as_they_are = [np.zeros(0, np.int64)], [np.zeros(0, bool)]
    for name, some in of_class.items():
        parts.append(some[:most])
        as_they_are.append(np.ones(len(parts[-1]), bool))
        if matching and name in matching.weights:
            bins = frequency_bins(counts[some])
            inside = np.unique(bins[matching.weights[name] > 0])
            each = max(1, most // (2 * len(inside)))
            more = np.concatenate([some[(bins == one) & (counts[some] > 0)][:each] for one in inside])
            parts.append(np.setdiff1d(more, some[:most]))
            as_they_are.append(np.zeros(len(parts[-1]), bool))
    return np.concatenate(parts), np.concatenate(as_they_are)
