"""Classifiers of sequences of symbols without a network: nearest neighbours and logistic regressions.

Their settings are chosen by the macro-F1 on a validation set. Classes are int `[examples]`, from 0.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.evals.classification import majority
from ssl_jax.evals.label_metrics import macro_f1

NGRAMS = (1, 2, 3, 4)
"""Longest n-grams that are tried."""
NEIGHBOURS = (1, 5, 15)
"""Numbers of neighbours that are tried."""
MAJORITY, KNN = "most frequent class", "nearest neighbours"
NGRAM_REGRESSION = "logistic regression on n-grams"
POSITION_REGRESSION = "logistic regression on positions"


class Sequences(NamedTuple):
    """Sequences of symbols, and their classes."""

    symbols: Sequence[Sequence[str]]
    labels: np.ndarray


class Baseline(NamedTuple):
    """What a classifier predicts.

    Attributes:
      predictions: int `[tests]`.
      setting: what was chosen on the validation set; "" for nothing.
    """

    predictions: np.ndarray
    setting: str = ""


VALIDATION, TESTS = 1, 2
"""Parts of the data, after the training data."""


class _Try(NamedTuple):
    """A classifier that is fitted.

    Attributes:
      setting: in words.
      predict: `part -> classes`.
    """

    setting: str
    predict: Callable[[int], np.ndarray]


def sequence_baselines(train: Sequences, validation: Sequences, tests: Sequences) -> Mapping[str, Baseline]:
    """The predictions of every classifier for the tests, by its name.

    - the most frequent class;
    - the vote of the nearest training examples, by the share of positions with the same symbol (the normalised Hamming
      distance) or by the cosine of n-gram counts;
    - a logistic regression on the tf-idf of n-grams, and one on the symbol at each position.

    Args:
      train: what they are fitted to.
      validation: what settings are chosen on.
      tests: what is predicted; the labels are not used.
    """
    parts = [part.symbols for part in (train, validation, tests)]
    at_positions = _positions(parts)
    counts = {f"{n}-grams": _counts(parts, n, weighted=False) for n in NGRAMS}
    weighted = {f"n up to {n}": _counts(parts, n, weighted=True) for n in NGRAMS}

    def best(tries: Iterable[_Try]) -> Baseline:
        scores = [(macro_f1(validation.labels, one.predict(VALIDATION)), one) for one in tries]
        _, chosen = max(scores, key=lambda one: one[0])  # the first of equal ones
        return Baseline(chosen.predict(TESTS), chosen.setting)

    distances = {"same symbols at positions": at_positions} | counts
    return {
        MAJORITY: Baseline(majority(train.labels, len(tests.labels))),
        KNN: best(
            one for name, of in distances.items() for one in _neighbours(of, train.labels, f"by {name}")
        ),
        NGRAM_REGRESSION: best(
            _regression(of, train.labels, 5.0, setting) for setting, of in weighted.items()
        ),
        POSITION_REGRESSION: best(
            _regression(at_positions, train.labels, c, f"C {c:g}") for c in (0.03, 0.3, 3.0)
        ),
    }


def _regression(features: Sequence[Any], labels: np.ndarray, c: float, setting: str) -> _Try:
    from sklearn.linear_model import LogisticRegression  # takes a second that no start need wait for

    with threadpool_limits(1):  # more threads are slower here, many times so on a busy machine
        model = LogisticRegression(C=c, max_iter=200).fit(features[0], labels)
    return _Try(setting, lambda part: model.predict(features[part]))


def _neighbours(features: Sequence[Any], labels: np.ndarray, distance: str) -> list[_Try]:
    """The votes of several numbers of neighbours, of which the lowest class wins a tie."""
    from sklearn.neighbors import NearestNeighbors

    index = NearestNeighbors(metric="cosine", algorithm="brute").fit(features[0])
    most = min(max(NEIGHBOURS), len(labels))

    @functools.cache  # for all numbers of neighbours
    def nearest(part: int) -> np.ndarray:
        return labels[index.kneighbors(features[part], most, return_distance=False)]

    def vote(k: int, part: int) -> np.ndarray:
        return np.array([np.bincount(each).argmax() for each in nearest(part)[:, :k]])

    return [_Try(f"{k} {distance}", functools.partial(vote, k)) for k in NEIGHBOURS]


def _counts(parts: Sequence[Sequence[Sequence[str]]], longest: int, *, weighted: bool) -> list[Any]:
    """The counts of n-grams of up to `longest` symbols, or their tf-idf; sparse matrices `[examples, n-grams]`.

    The n-grams are those that two sequences of the first part have, the training data.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    def ngrams(symbols: Sequence[str]) -> list[tuple[str, ...]]:
        return [
            tuple(symbols[start : start + n])
            for n in range(1, longest + 1)
            for start in range(len(symbols) - n + 1)
        ]

    kind = functools.partial(TfidfVectorizer, sublinear_tf=True) if weighted else CountVectorizer
    try:
        vectorizer = kind(analyzer=ngrams, min_df=2).fit(parts[0])
    except ValueError:  # none occurs in two sequences
        vectorizer = kind(analyzer=ngrams).fit(parts[0])
    return [vectorizer.transform(part) for part in parts]


def _positions(parts: Sequence[Sequence[Sequence[str]]]) -> list[Any]:
    """One where a position has a symbol, sparse matrices `[examples, positions * symbols]`.

    The end is a symbol that all positions after it have, so that sequences of other lengths differ there.
    """
    from scipy.sparse import csr_matrix

    symbols = {
        symbol: number for number, symbol in enumerate(sorted({s for one in parts[0] for s in one}), 2)
    }
    longest = max(len(one) for one in parts[0])
    end, unknown, kinds = 0, 1, len(symbols) + 2
    made = []
    for part in parts:
        numbers = np.full((len(part), longest), end)
        for row, one in zip(numbers, part, strict=True):
            found = [symbols.get(symbol, unknown) for symbol in one[:longest]]
            row[: len(found)] = found
        columns = numbers + kinds * np.arange(longest)
        starts = longest * np.arange(len(part) + 1)
        values = np.ones(columns.size, np.float32)
        made.append(csr_matrix((values, columns.ravel(), starts), (len(part), kinds * longest)))
    return made
