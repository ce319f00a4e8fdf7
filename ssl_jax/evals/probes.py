"""Linear probes: classifiers on frozen features, trained on all labels or on a few.

Features are float32 `[examples, width]`, labels int `[examples]`, both NumPy. Every probe standardises the features by
its training features, and chooses how strongly it is regularised on a part of its *training* labels: the test labels
are read once, for the accuracy.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.errors import UserError

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

PENALTIES = tuple(np.logspace(-6, 1, 10).tolist())
"""Weights of half the squared norm of the classifier beside the mean cross entropy."""
FEW_PENALTIES = PENALTIES[1::2]
FOLDS = 5
FIXED_PENALTY = 0.01
"""Where no label can be spared to choose one; on standardised features a factor of ten either way matters little."""
CROSS_VALIDATED = 2 * 10**6
"""Few-label probes choose their penalty by cross-validation up to this many examples x width x classes."""
VALIDATED = 2 * 10**7
"""Up to this many, they choose it on a single fifth of their labels, which takes a fifth of the time."""
MOST_ITERATIONS = 1000
TOLERANCE = 1e-5
"""Largest component of the gradient of a fitted classifier."""
CHOICE_TOLERANCE = 1e-4
"""Of those that a penalty is chosen by: they take half the time."""


class Probe(NamedTuple):
    """The result of a fitted classifier.

    Attributes:
      accuracy: share of the test examples that are right.
      penalty: the chosen one.
      predictions: int `[tests]`, the label predicted for each test example.
    """

    accuracy: float
    penalty: float
    predictions: np.ndarray


class Repeated(NamedTuple):
    """An accuracy over several draws of the labelled examples.

    Attributes:
      mean: of the draws.
      deviation: sample standard deviation over the draws; 0 of a single draw.
      accuracies: of each draw.
    """

    mean: float
    deviation: float
    accuracies: tuple[float, ...]

    @classmethod
    def of(cls, accuracies: Sequence[float]) -> "Repeated":
        """Mean and deviation of these accuracies."""
        deviation = float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else 0.0
        return cls(float(np.mean(accuracies)), deviation, tuple(accuracies))


def standardise(train: np.ndarray, *others: np.ndarray) -> tuple[np.ndarray, ...]:
    """All arrays, standardised by the moments of the first; a dimension that does not vary there is only centred."""
    mean, scale = moments(train)
    return tuple(((features - mean) / scale).astype(np.float32) for features in (train, *others))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each dimension, `[width]`; the deviation is 1 where a dimension does not vary.

    Rounding makes the deviation of a constant some 1e-7 of its size, which does not count as variation.
    """
    mean = features.mean(0, dtype=np.float64)
    deviation = features.std(0, dtype=np.float64)
    varies = deviation > 1e-6 * np.abs(mean) + 1e-12
    return mean.astype(np.float32), np.where(varies, deviation, 1.0).astype(np.float32)


def linear_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Probe:
    """Logistic regression on frozen features, by full-batch L-BFGS.

    The penalty is the best one on a fifth of the training examples, stratified by class (of equally many hits, that of
    the best likelihood); the classifier is then fitted on all of them. Of two classes it is the binomial model, else
    the multinomial one.

    Args:
      train: float32 `[examples, width]`.
      train_labels: int `[examples]`.
      test: float32 `[tests, width]`.
      test_labels: int `[tests]`.
      penalties: to choose from, weights of half the squared norm of the classifier beside the mean cross entropy.
      seed: of the fifth.

    Raises:
      UserError: unlabelled examples, a single class, widths that differ, features that are not finite.
    """
    check_features(train, train_labels, test, test_labels)
    train, test = standardise(train, test)
    penalty = _choose_penalty(train, train_labels, penalties, [heldout_fifth(train_labels, seed)])
    return _fitted(train, train_labels, test, test_labels, penalty)


def few_label_probe(
    train: np.ndarray,
    train_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    per_class: int,
    penalties: Sequence[float] = FEW_PENALTIES,
    repeats: int = 5,
    seed: int = 0,
) -> Repeated:
    """Linear probes that see the labels of a few training examples only, drawn anew for each repeat.

    The features are standardised by all of `train`, which takes no labels. The penalty is chosen by five-fold
    cross-validation within the labelled examples, beyond `CROSS_VALIDATED` on a fifth of them. Where a class has fewer
    than five of them the choice would be chance, and beyond `VALIDATED` it would take too long: the penalty is
    `FIXED_PENALTY` then.

    Args:
      train, train_labels, test, test_labels: see `linear_probe`.
      per_class: labelled examples of every class.
      penalties: to choose from; see `linear_probe`.
      repeats: number of draws.
      seed: of the first draw; each has its own.

    Raises:
      UserError: as `linear_probe` does, and for a class that has too few examples.
    """
    check_features(train, train_labels, test, test_labels)
    train, test = standardise(train, test)
    accuracies = []
    for repeat in range(repeats):
        chosen = label_subset(train_labels, per_class=per_class, seed=seed + repeat)
        labels = train_labels[chosen]
        features, queries = _in_row_space(train[chosen], test)
        folds = _folds(labels, seed)
        work = features.size * len(np.unique(labels))
        heldout = [folds == fold for fold in range(FOLDS if work <= CROSS_VALIDATED else 1)]
        choose = per_class >= FOLDS and work <= VALIDATED
        penalty = _choose_penalty(features, labels, penalties if choose else (FIXED_PENALTY,), heldout)
        accuracies.append(_fitted(features, labels, queries, test_labels, penalty).accuracy)
    return Repeated.of(accuracies)


def _in_row_space(features: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by their coordinates in the span of the rows of `features`, where these are far fewer than dimensions.

    A classifier with an L2 penalty has no part outside of this span. The fit is the same, and as many times faster.
    """
    if 2 * len(features) > features.shape[1]:
        return features, others
    with threadpool_limits(1):
        basis = np.linalg.qr(features.T)[0]
        return features @ basis, others @ basis


def label_subset(labels: np.ndarray, *, per_class: int, seed: int) -> np.ndarray:
    """Sorted indices of a random `per_class` examples of every class.

    Raises:
      UserError: a class with fewer examples.
    """
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if per_class > count:
            raise UserError(
                f"labels are missing for a probe: class {label} has {count} labelled examples, too few for {per_class} "
                "per class. Ask for another number, or give more labelled examples."
            )
    return np.flatnonzero(_rank_in_class(labels, seed) < per_class)


def heldout_fifth(labels: np.ndarray, seed: int) -> np.ndarray:
    """Mask of a random fifth of every class, to choose by; the only example of a class is never in it."""
    return _folds(labels, seed) == 0


def check_features(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> None:
    """Raises UserError for features and labels that no probe can be fitted on or measured with."""
    for name, features, labels in (("training", train, train_labels), ("test", test, test_labels)):
        if features.ndim != 2 or labels.shape != features.shape[:1] or not len(features):
            raise UserError(
                f"{name} features of a probe have the shape {features.shape}, their labels {labels.shape}: expected "
                "[examples, width] and [examples], with one example or more."
            )
        if missing := int((labels < 0).sum()):
            raise UserError(
                f"labels are missing for a probe: {missing} of {len(labels)} {name} examples are unlabelled (-1). "
                "Leave them out, or give a source that has labels."
            )
        if broken := int((~np.isfinite(features).all(1)).sum()):
            raise UserError(
                f"{name} features of a probe are not finite in {broken} of {len(features)} examples: the encoder has "
                "diverged. Take an earlier checkpoint, or train with a smaller learning rate."
            )
    if train.shape[1] != test.shape[1]:
        raise UserError(
            f"training features of a probe are {train.shape[1]} wide, test features {test.shape[1]}: both must come "
            "from the same encoder."
        )
    if len(np.unique(train_labels)) < 2:
        raise UserError(
            f"labels are missing for a probe: all training examples are of class {train_labels[0]}. A probe needs two "
            "classes or more."
        )


def _rank_in_class(labels: np.ndarray, seed: int) -> np.ndarray:
    """The place of each example in a random order of its class, from 0."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    order = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[order], labels[order])
    ranks = np.empty(len(labels), np.int64)
    ranks[order] = np.arange(len(labels)) - starts
    return ranks


def _folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each example, every class spread evenly; -1, held out of no fit, for the only one of its class."""
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.where(counts[place] > 1, _rank_in_class(labels, seed) % FOLDS, -1)


def _choose_penalty(
    features: np.ndarray, labels: np.ndarray, penalties: Sequence[float], heldout: Sequence[np.ndarray]
) -> float:
    """The penalty with the most hits over the held-out parts, given as masks; of equals, with the best likelihood."""
    scores = {penalty: np.zeros(2) for penalty in sorted(penalties, reverse=True)}
    if len(scores) == 1:
        return next(iter(scores))
    parts = [part for part in heldout if part.any()]
    for part in parts:
        for penalty, model in _sweep(features[~part], labels[~part], tuple(scores), CHOICE_TOLERANCE):
            likelihoods = model.predict_log_proba(features[part])
            truth = np.searchsorted(model.classes_, labels[part])
            hits = likelihoods.argmax(1) == truth
            scores[penalty] += hits.sum(), likelihoods[np.arange(len(truth)), truth].sum()
    return max(scores, key=lambda penalty: tuple(scores[penalty])) if parts else FIXED_PENALTY


def _sweep(
    features: np.ndarray, labels: np.ndarray, penalties: Sequence[float], tolerance: float
) -> Iterator[tuple[float, "LogisticRegression"]]:
    """One model, fitted with each penalty from where the one before ended: the strongest first is the fastest.

    On one thread: on several, L-BFGS's many short vector operations wait for each other, ten times as long.
    """
    from sklearn.exceptions import (
        ConvergenceWarning,
    )  # takes a second that the start of a run need not wait for
    from sklearn.linear_model import LogisticRegression

    features = features.astype(np.float64)  # in float32 the line search gives up early
    model = LogisticRegression(tol=tolerance, max_iter=MOST_ITERATIONS, warm_start=True)
    for penalty in penalties:
        model.C = 1 / (penalty * len(labels))
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings(
                "ignore", "The number of unique classes"
            )  # few labels of many classes are usual
            model.fit(features, labels)
        yield penalty, model


def _fitted(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, penalty: float
) -> Probe:
    ((_, model),) = _sweep(train, train_labels, [penalty], TOLERANCE)
    predictions = model.predict(test)
    return Probe(float((predictions == test_labels).mean()), penalty, predictions)
