"""Classifiers of sequences of symbols without a network: nearest neighbours and logistic regressions.

Their settings are chosen by the macro-F1 on a validation set. Classes are int `[examples]`, from 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

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
    from sklearn.linear_model import LogisticRegression  # takes a second that no start need wait for
    from sklearn.neighbors import KNeighborsClassifier

    def neighbours(k: int) -> Any:
        return KNeighborsClassifier(min(k, len(train.labels)), metric="cosine", algorithm="brute")

    parts = [part.symbols for part in (train, validation, tests)]
    at_positions = _positions(parts)
    counts = {n: _counts(parts, n, weighted=False) for n in NGRAMS}
    weighted = {n: _counts(parts, n, weighted=True) for n in NGRAMS}

    def best(tries: Iterable[tuple[str, Sequence[Any], Callable[[], Any]]]) -> Baseline:
        """The first of the (setting, features of the three parts, classifier) with the highest score."""
        found = []
        for setting, (own, chosen_on, others), make in tries:
            model = make().fit(own, train.labels)
            score = macro_f1(validation.labels, model.predict(chosen_on))
            found.append((score, Baseline(model.predict(others), setting)))
        return max(found, key=lambda one: one[0])[1]

    distances = {"same symbols at positions": at_positions} | {f"{n}-grams": counts[n] for n in NGRAMS}
    return {
        MAJORITY: Baseline(majority(train.labels, len(tests.labels))),
        KNN: best(
            (f"{k} by {name}", features, lambda k=k: neighbours(k))
            for name, features in distances.items()
            for k in NEIGHBOURS
        ),
        NGRAM_REGRESSION: best(
            (f"up to {n} symbols", weighted[n], lambda: LogisticRegression(C=5.0, max_iter=200))
            for n in NGRAMS
        ),
        POSITION_REGRESSION: best(
            (f"C {c:g}", at_positions, lambda c=c: LogisticRegression(C=c, max_iter=200))
            for c in (0.03, 0.3, 3.0)
        ),
    }


def _counts(parts: Sequence[Sequence[Sequence[str]]], longest: int, *, weighted: bool) -> list[Any]:
    """The counts of n-grams of up to `longest` symbols, or their tf-idf; sparse matrices `[examples, n-grams]`.

    The n-grams are those of the first part, the training data.
    """
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

    def ngrams(symbols: Sequence[str]) -> list[tuple[str, ...]]:
        return [
            tuple(symbols[start : start + n])
            for n in range(1, longest + 1)
            for start in range(len(symbols) - n + 1)
        ]

    vectorizer = (
        TfidfVectorizer(analyzer=ngrams, sublinear_tf=True) if weighted else CountVectorizer(analyzer=ngrams)
    )
    return [vectorizer.fit_transform(parts[0]), *(vectorizer.transform(part) for part in parts[1:])]


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
