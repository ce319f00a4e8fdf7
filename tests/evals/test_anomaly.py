"""Scores of anomalies against NumPy by hand, and what a threshold promises."""

import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.evals.anomaly import (
    LEARNED,
    Examined,
    alarm_threshold,
    classical_scores,
    code_distances,
    combined,
    detection_metrics,
    learned_scores,
    separation,
    telling_examples,
)


def test_separation_counts_pairs_and_averages_precisions():
    rng = np.random.default_rng(0)
    normal, anomalous = (rng.integers(0, 8, n) / 8 + shift for n, shift in ((31, 0.0), (17, 0.25)))
    found = separation(normal, anomalous)
    above = (anomalous[:, None] > normal[None]) + 0.5 * (anomalous[:, None] == normal[None])
    assert found["auroc"] == pytest.approx(above.mean())
    precisions = []  # at each recall, of the threshold that reaches it
    for score in anomalous:
        caught, false = (anomalous >= score).sum(), (normal >= score).sum()
        precisions.append(caught / (caught + false))
    assert found["average_precision"] == pytest.approx(np.mean(precisions))
    same = separation(np.ones(3), np.ones(1))
    assert same == {"auroc": 0.5, "average_precision": 0.25, "average_precision_by_chance": 0.25}


@pytest.mark.parametrize(
    ("count", "rate", "above"), [(19, 0.05, 0), (99, 0.05, 4), (100, 0.05, 4), (9, 0.5, 4), (1, 0.5, 0)]
)
def test_threshold_leaves_so_many_normal_scores_above(count, rate, above):
    scores = np.random.default_rng(0).permutation(count).astype(float)
    assert (scores > alarm_threshold(scores, rate)).sum() == above


def test_false_alarms_are_no_more_than_asked_for_on_average():
    rng = np.random.default_rng(0)
    draws = rng.exponential(size=(4000, 30))
    rates = np.exp([-alarm_threshold(scores, 0.1) for scores in draws])  # chance of a higher one, exactly
    assert rates.mean() == pytest.approx(3 / 31, abs=4 * rates.std() / 4000**0.5)


@pytest.mark.parametrize(
    ("rate", "named"),
    [(0.0, "must be above 0"), (1.0, "below 1"), (0.04, "at least 0.0500")],
)
def test_threshold_that_cannot_be(rate, named):
    with pytest.raises(UserError, match=named):
        alarm_threshold(np.arange(19.0), rate)


def test_code_distances_by_the_shrunk_covariance():
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(40, 3)) * [1.0, 5.0, 0.2] + 7
    shown = rng.normal(size=(6, 3)) + 7
    centred = codes - codes.mean(0)
    covariance = centred.T @ centred / 40
    # Ledoit and Wolf 2004, section 3.2 and lemma 3.4.
    sphere = np.trace(covariance) / 3 * np.eye(3)
    spread = np.square(covariance - sphere).sum()
    noise = sum(np.square(np.outer(x, x) - covariance).sum() for x in centred) / 40**2
    shrinkage = min(noise, spread) / spread
    inverse = np.linalg.inv(shrinkage * sphere + (1 - shrinkage) * covariance)
    wanted = [(x - codes.mean(0)) @ inverse @ (x - codes.mean(0)) / 3 for x in shown]
    (found,) = code_distances(codes, shown)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_scores_are_added_in_units_of_their_normal_mean():
    (found,) = combined((np.array([1.0, 3.0]), np.array([10.0])), [(np.array([4.0]), np.array([5.0]))])
    np.testing.assert_allclose(found, [2.5])


def test_classical_scores():
    rng = np.random.default_rng(0)
    fitted, shown = (rng.uniform(size=(n, 6)).astype(np.float32) for n in (30, 8))
    found = classical_scores(fitted, shown, components=2)
    assert [*found] == ["PCA", "k-NN", "isolation forest", "one-class SVM"]
    centre = fitted.mean(0)
    directions = np.linalg.svd(fitted - centre, full_matrices=False)[2][:2]
    reconstructions = np.clip((shown - centre) @ directions.T @ directions + centre, 0, 1)
    np.testing.assert_allclose(found["PCA"][0], np.square(reconstructions - shown).mean(1), rtol=1e-4)
    distances = np.sort(np.linalg.norm(shown[:, None] - fitted[None], axis=-1))
    np.testing.assert_allclose(found["k-NN"][0], distances[:, 4], rtol=1e-4)


def test_constant_examples_have_finite_scores():
    fitted, other = np.full((5, 4), 0.5, np.float32), np.ones((3, 4), np.float32)
    found = classical_scores(fitted, fitted, other, components=3)
    found["codes"] = code_distances(fitted, fitted, other)
    for name, (same, anomalous) in found.items():
        assert np.isfinite([*same, *anomalous]).all(), name
    for name in ("PCA", "k-NN"):
        assert separation(*found[name])["auroc"] == 1, name


def test_metrics_of_a_detector_are_of_all_anomalies_and_of_each_class():
    labels = np.array([0, 0, 1, 1, 2, 2])
    heldout = np.array([0.1, 0.5, 0.4, 0.9, 0.9, 0.8])
    normal = np.array([True, False, False, False])
    found = detection_metrics(np.arange(9) / 18, heldout, labels, normal, ("a", "b", "c", "d"), 0.5)
    assert found["threshold"] == pytest.approx(4 / 18)
    assert (found["false_alarms"], found["detected"]) == (0.5, 1.0)
    assert found["auroc"] == pytest.approx(7 / 8)
    assert {name: part["auroc"] for name, part in found["by_class"].items()} == {"b": 0.75, "c": 1.0}


def test_learned_scores_are_those_of_their_parts():
    rng = np.random.default_rng(0)
    fitted, validation, heldout = (
        Examined(rng.uniform(size=n), rng.normal(size=n), rng.normal(size=(n, 3))) for n in (30, 9, 6)
    )
    scores = learned_scores(fitted, validation, heldout)
    assert tuple(scores) == LEARNED
    distances = code_distances(fitted.code, validation.code, heldout.code)
    units = validation.error.mean(), distances[0].mean()
    for place, examined in enumerate((validation, heldout)):
        np.testing.assert_array_equal(scores["reconstruction"][place], examined.error)
        np.testing.assert_array_equal(scores["likelihood"][place], examined.bound)
        np.testing.assert_array_equal(scores["code_distance"][place], distances[place])
        both = examined.error / units[0] + distances[place] / units[1]
        np.testing.assert_allclose(scores["both"][place], both)


def test_telling_examples():
    scores = np.array([5.0, 1.0, 2.0, 9.0, 3.0, 4.0])
    normal = np.array([True, True, True, False, False, False])
    assert telling_examples(scores, normal).tolist() == [1, 0, 2, 4, 5, 3]
    assert telling_examples(scores[2:4], normal[2:4]).tolist() == [0, 0, 0, 1, 1, 1]
