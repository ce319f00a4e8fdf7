"""ROUGE: how many words of a reference summary a summary has (Lin 2004, "ROUGE: A Package for Automatic Evaluation").

F1 of n-grams (ROUGE-1 and ROUGE-2) and of the longest common subsequence (ROUGE-L). Words are runs of letters and
digits in lower case, as in google-research/rouge. There is no stemming: words count as equal only if they are written
alike, so the values are a little lower than those with the Porter stemmer.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_WORD = re.compile(r"[a-z0-9]+")


class Rouge(NamedTuple):
    """F1 of a summary, or means of several, from 0 to 1."""

    rouge_1: float
    rouge_2: float
    rouge_l: float


def rouge(summary: str, reference: str) -> Rouge:
    """The F1 of a summary.

    Example:
      >>> print(rouge("the cat sat", "the cat ran"))
      Rouge(rouge_1=0.6666666666666666, rouge_2=0.5, rouge_l=0.6666666666666666)
    """
    ours, theirs = rouge_words(summary), rouge_words(reference)
    return Rouge(
        _ngram_f1(ours, theirs, 1),
        _ngram_f1(ours, theirs, 2),
        _f1(longest_common_subsequence(ours, theirs), len(ours), len(theirs)),
    )


def mean_rouge(summaries: Sequence[str], references: Sequence[str]) -> Rouge:
    """The mean F1 of summaries, each with one reference."""
    return mean_of(rouges(summaries, references))


def mean_of(scores: Sequence[Rouge]) -> Rouge:
    """The mean of the F1 of several summaries."""
    return Rouge(*(float(value) for value in np.mean(scores, axis=0)))


def rouges(summaries: Sequence[str], references: Sequence[str]) -> list[Rouge]:
    """The F1 of each summary, each with one reference."""
    return [rouge(*pair) for pair in zip(summaries, references, strict=True)]


def rouge_words(text: str) -> list[str]:
    """The words that are compared."""
    return _WORD.findall(text.lower())


def longest_common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest sequence of words that both have in this order, with others in between.

    Example:
      >>> longest_common_subsequence("a b c d".split(), "b x d a".split())
      2
    """
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            diagonal, lengths[place] = (
                lengths[place],
                diagonal + 1 if word == other else max(lengths[place], lengths[place - 1]),
            )
    return lengths[-1]


def _ngram_f1(ours: Sequence[str], theirs: Sequence[str], size: int) -> float:
    counts = [
        Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1)) for words in (ours, theirs)
    ]
    return _f1((counts[0] & counts[1]).total(), counts[0].total(), counts[1].total())


def _f1(common: int, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0
