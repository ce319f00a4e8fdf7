"""Metrics of classes and of scores: accuracy, F1, Matthews, Pearson and Spearman correlation.

Classes are int `[examples]`, scores float `[examples]`; all results are Python floats. They are what scikit-learn and
SciPy compute. Where a metric is not defined: F1 is 0 without any example of the class; the Matthews correlation is 0 if
all labels or all predictions are equal; the correlations of scores are NaN if all labels or all predictions are equal,
or there are fewer than two. A NaN in the scores makes them NaN.
"""

import numpy as np


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of the examples that are right."""
    return float(np.mean(np.asarray(labels) == np.asarray(predictions)))


def f1(labels: np.ndarray, predictions: np.ndarray, positive: int = 1) -> float:
    """Harmonic mean of precision and recall of one class.

    Example:
      >>> f1(np.array([1, 1, 0, 0]), np.array([1, 0, 0, 0]))
      0.6666666666666666
    """
    found, right = np.asarray(predictions) == positive, np.asarray(labels) == positive
    total = int(found.sum() + right.sum())
    return 2 * int((found & right).sum()) / total if total else 0.0


def macro_f1(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Mean of the F1 of all classes that occur in the labels or in the predictions."""
    return float(np.mean([f1(labels, predictions, name) for name in np.union1d(labels, predictions)]))


def matthews_correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Correlation of labels and predictions of two or more classes, from -1 to 1 (Gorodkin 2004)."""
    _, numbered = np.unique(np.concatenate([labels, predictions]), return_inverse=True)
    true, found = np.split(numbered, 2)
    classes = int(numbered.max()) + 1
    true_counts, found_counts = (
        np.bincount(each, minlength=classes).astype(np.int64) for each in (true, found)
    )
    count = len(true)
    covariance = int((true == found).sum()) * count - int(true_counts @ found_counts)
    variances = (count**2 - int(each @ each) for each in (true_counts, found_counts))
    product = float(np.prod([float(variance) for variance in variances]))
    return covariance / product**0.5 if product else 0.0


def pearson_correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Linear correlation of scores."""
    x, y = (np.asarray(each, np.float64) for each in (labels, predictions))
    if len(x) < 2 or not (np.isfinite(x).all() and np.isfinite(y).all()) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    x, y = x - x.mean(), y - y.mean()
    # Norms before the product: squares of small or large numbers would leave the range of float64.
    x, y = x / np.abs(x).max(), y / np.abs(y).max()
    return float(np.clip((x / np.linalg.norm(x)) @ (y / np.linalg.norm(y)), -1.0, 1.0))


def spearman_correlation(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Correlation of ranks; equal scores share the mean of their ranks."""
    if np.isnan(labels).any() or np.isnan(predictions).any():
        return float("nan")
    return pearson_correlation(_ranks(labels), _ranks(predictions))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, numbered, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[numbered]
