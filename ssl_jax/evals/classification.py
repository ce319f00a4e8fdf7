"""Results of a classifier of text: confusions, results of each class, and baselines without a network.

Classes are int `[examples]`, from 0.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ssl_jax.evals.label_metrics import (
    accuracy,
    macro_f1,
    matthews_correlation,
    pearson_correlation,
    spearman_correlation,
)
from ssl_jax.evals.plots import draw_matrix

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class ClassResult(NamedTuple):
    """How well one class is found.

    Attributes:
      precision: share of the examples predicted to be of the class that are; 0 if there are none.
      recall: share of the examples of the class that are predicted to be; 0 if there are none.
      f1: their harmonic mean.
      examples: number of examples of the class.
    """

    precision: float
    recall: float
    f1: float
    examples: int


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Float64 `[examples, classes]`, the softmax of the logits.

    Example:
      >>> probabilities(np.array([[0.0, 0.0], [1e9, 0.0]])).tolist()
      [[0.5, 0.5], [1.0, 0.0]]
    """
    powers = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def label_probabilities(labels: Sequence[str], logits: np.ndarray) -> list[dict[str, Any]]:
    """The likeliest label of each example, its probability, and the probability of every label.

    Args:
      labels: names of the classes.
      logits: `[examples, classes]`.
    """
    return [
        {
            "label": labels[int(row.argmax())],
            "probability": float(row.max()),
            "probabilities": dict(zip(labels, map(float, row), strict=True)),
        }
        for row in probabilities(logits)
    ]


def class_metrics(labels: np.ndarray, predictions: np.ndarray, classes: int) -> dict[str, float]:
    """Metrics of all classes: accuracy and the mean F1 of the classes; of two classes, the Matthews correlation."""
    metrics = {"accuracy": accuracy(labels, predictions), "macro_f1": macro_f1(labels, predictions)}
    return metrics | ({"matthews": matthews_correlation(labels, predictions)} if classes == 2 else {})


def correlations(scores: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """Pearson and Spearman correlation of scores."""
    return {
        "pearson": pearson_correlation(scores, predictions),
        "spearman": spearman_correlation(scores, predictions),
    }


def confusions(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Int `[classes, classes]`: examples by their label and by the prediction.

    Example:
      >>> confusions(np.array([0, 1, 1]), np.array([0, 0, 1]), 2).tolist()
      [[1, 0], [1, 1]]
    """
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def results_by_class(counts: np.ndarray) -> list[ClassResult]:
    """The result of each class, from `confusions`."""
    right, examples, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
    with np.errstate(invalid="ignore"):
        precision, recall = (np.nan_to_num(right / total) for total in (predicted, examples))
        f1 = np.nan_to_num(2 * right / (examples + predicted))
    return [
        ClassResult(*map(float, row), int(count))
        for *row, count in zip(precision, recall, f1, examples, strict=True)
    ]


def draw_confusions(counts: np.ndarray, names: Sequence[str], title: str) -> "Figure":
    """The predictions of each class as shares of its examples."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    rows = [f"{name} ({count:,})" for name, count in zip(names, counts.sum(1), strict=True)]
    return draw_matrix(
        shares.tolist(), rows=rows, columns=names, title=title, labels=("predicted", "label (examples)")
    )


def majority(labels: np.ndarray, tests: int) -> np.ndarray:
    """The most frequent class of the training labels, for every test."""
    return np.full(tests, np.bincount(labels).argmax())


def tfidf_regression(texts: Sequence[str], labels: np.ndarray, tests: Sequence[str]) -> np.ndarray:
    """The predictions for `tests` of a logistic regression on the tf-idf of words and pairs of words.

    Args:
      texts: to fit it to; words that occur once are left out if there are others.
      labels: of these.
      tests: to be classified.
    """
    from sklearn.linear_model import LogisticRegression  # takes a second that no start need wait for

    return _fit_tfidf(LogisticRegression(C=5.0, max_iter=200), texts, labels).predict(tests)


def tfidf_scores(texts: Sequence[str], scores: np.ndarray, tests: Sequence[str]) -> np.ndarray:
    """As `tfidf_regression`, of scores: a ridge regression."""
    from sklearn.linear_model import Ridge

    return _fit_tfidf(Ridge(), texts, scores).predict(tests)


def _fit_tfidf(model: Any, texts: Sequence[str], targets: np.ndarray) -> Any:
    """A model of scikit-learn on tf-idf, fitted."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    # Any non-space characters are words: texts may be in any script, and consist of signs.
    words = {"ngram_range": (1, 2), "min_df": 2, "sublinear_tf": True, "token_pattern": r"\w+|[^\w\s]"}
    model = make_pipeline(TfidfVectorizer(**words), model)
    try:
        return model.fit(texts, targets)
    except ValueError:  # no word occurs twice
        return model.set_params(tfidfvectorizer__min_df=1).fit(texts, targets)
