"""Results of classifiers of text against scikit-learn, and the baselines on texts that they can and cannot learn."""

import numpy as np
import pytest
from sklearn import metrics

from ssl_jax.evals.classification import (
    class_metrics,
    confusions,
    draw_confusions,
    majority,
    results_by_class,
    tfidf_regression,
)

CHANCE = np.random.default_rng(0)
CASES = {
    "random": (CHANCE.integers(0, 4, 200), CHANCE.integers(0, 4, 200)),
    "a class that is never predicted": (CHANCE.integers(0, 4, 50), CHANCE.integers(0, 3, 50)),
    "a class without examples": (CHANCE.integers(0, 3, 50), CHANCE.integers(0, 4, 50)),
    "one prediction": (CHANCE.integers(0, 4, 50), np.zeros(50, int)),
}


@pytest.mark.parametrize("case", CASES)
def test_results_by_class_are_those_of_scikit_learn(case):
    labels, predictions = CASES[case]
    counts = confusions(labels, predictions, 4)
    np.testing.assert_array_equal(counts, metrics.confusion_matrix(labels, predictions, labels=range(4)))
    expected = metrics.precision_recall_fscore_support(labels, predictions, labels=range(4), zero_division=0)
    np.testing.assert_allclose(results_by_class(counts), np.transpose(expected), rtol=1e-12)
    found = class_metrics(labels, predictions, 4)
    assert [*found] == ["accuracy", "macro_f1"]
    assert found["macro_f1"] == pytest.approx(
        metrics.f1_score(labels, predictions, average="macro", zero_division=0)
    )


def test_two_classes_have_the_matthews_correlation():
    labels, predictions = CHANCE.integers(0, 2, (2, 60))
    found = class_metrics(labels, predictions, 2)["matthews"]
    assert found == pytest.approx(metrics.matthews_corrcoef(labels, predictions))


def test_rows_of_the_picture_are_shares():
    counts = np.array([[3, 1], [0, 0]])
    (axes,) = draw_confusions(counts, ["a", "b"], "title").axes
    assert [text.get_text() for text in axes.texts] == ["75%", "25%", "0%", "0%"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a (4)", "b (0)"]


def test_the_baselines():
    texts = ["the cat sat down", "a dog ran away", "the cat ran", "a dog sat", "one cat more"] * 4
    labels = np.array([0, 1, 0, 1, 0] * 4)
    np.testing.assert_array_equal(majority(labels, 3), [0, 0, 0])
    np.testing.assert_array_equal(tfidf_regression(texts, labels, ["no cat", "that dog"]), [0, 1])


@pytest.mark.parametrize("texts", [["cat", "dog"], ["...", "!!!"], ["東京", "大阪"]])
def test_the_tf_idf_of_texts_in_which_no_word_occurs_twice(texts):
    np.testing.assert_array_equal(tfidf_regression(texts, np.array([0, 1]), texts), [0, 1])
