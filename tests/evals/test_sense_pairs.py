"""Pairs of the occurrences of a word: their cosines, how well these tell the senses, and maps."""

import itertools

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from ssl_jax.evals.sense_pairs import (
    Group,
    cosine_matrix,
    mean_of_rows,
    p_value,
    permuted_aucs,
    principal_components,
    same_sense_auc,
    separation,
)

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((9, 4)).astype(np.float32)
SENSES = np.array([0, 0, 0, 1, 1, 1, 1, 2, 2])


def reference(cosines, senses):
    """By scikit-learn, of a list of pairs."""
    pairs = [*itertools.combinations(range(len(senses)), 2)]
    return roc_auc_score([senses[i] == senses[j] for i, j in pairs], [cosines[i, j] for i, j in pairs])


@pytest.mark.parametrize("digits", [1, 6], ids=["with ties", "without ties"])
def test_area_under_the_curve_is_that_of_scikit_learn(digits):
    cosines = np.round(cosine_matrix(VECTORS), digits)
    assert same_sense_auc(cosines, SENSES) == pytest.approx(reference(cosines, SENSES), abs=1e-12)


def test_equal_vectors_tie():
    """Products of equal vectors may differ in their last bits; of these, some are turned on purpose."""
    same = np.repeat(VECTORS[:1].astype(np.float64), 9, axis=0) * RNG.uniform(1, 3, (9, 1))
    cosines = cosine_matrix(same)
    cosines[0, 1] += 1e-12
    assert same_sense_auc(cosines, SENSES) == 0.5


def test_the_mean_of_other_text_is_subtracted():
    centre = np.array([3.0, -1.0, 0.0, 2.0])
    shifted = VECTORS.astype(np.float64) - centre
    expected = shifted @ shifted.T / np.outer(*[np.linalg.norm(shifted, axis=1)] * 2)
    np.testing.assert_allclose(cosine_matrix(VECTORS, centre), expected, atol=1e-12)
    assert cosine_matrix(np.array([[0.0, 0.0], [1.0, 0.0]])).tolist() == [[0, 0], [0, 1]]


def test_senses_are_permuted_among_sentences():
    cosines, senses = cosine_matrix(VECTORS[:6]), np.array([0, 0, 0, 1, 1, 1])
    areas = permuted_aucs(cosines, senses, permutations=2000, seed=3)
    found, counts = np.unique(areas.round(9), return_counts=True)
    labellings = {*itertools.permutations(senses.tolist())}
    expected, weights = np.unique(
        [round(reference(cosines, labelling), 9) for labelling in labellings], return_counts=True
    )
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(counts / 2000, weights / len(labellings), atol=0.03)
    np.testing.assert_array_equal(areas, permuted_aucs(cosines, senses, permutations=2000, seed=3))


def test_p_values():
    permuted = np.array([0.2, 0.5, 0.7, 0.9])
    assert [p_value(area, permuted) for area in (1.0, 0.7, 0.1)] == [1 / 5, 3 / 5, 1.0]


def test_words_are_separated_each_by_its_own_pairs():
    groups = {"a": Group(slice(0, 9), SENSES), "b": Group(slice(9, 13), np.array([0, 0, 1, 1]))}
    other = np.array([[1, 0.1], [1, 0.2], [0.1, 1], [0.2, 1]])
    vectors = np.concatenate([VECTORS, np.pad(other, ((0, 0), (0, 2)))])
    found = separation(vectors, None, groups, permutations=99)
    assert found.auc == {"a": same_sense_auc(cosine_matrix(VECTORS), SENSES), "b": 1.0}
    assert found.mean == pytest.approx((found.auc["a"] + 1) / 2)
    assert found.p_values["b"] == pytest.approx((1 + np.sum(found.permuted["b"] == 1)) / 100)
    both = (found.permuted["a"] + found.permuted["b"]) / 2
    assert found.mean_p_value == pytest.approx((1 + np.sum(both >= found.mean - 1e-12)) / 100)


def test_principal_components_are_those_of_scikit_learn():
    coordinates, shares = principal_components(VECTORS)
    fitted = PCA(2, svd_solver="full")
    expected = fitted.fit_transform(VECTORS.astype(np.float64))
    np.testing.assert_allclose(coordinates, expected * np.sign(expected[0]), atol=1e-6)
    np.testing.assert_allclose(shares, fitted.explained_variance_ratio_, atol=1e-6)
    same, none = principal_components(np.ones((3, 4)))
    assert (same.tolist(), none.tolist()) == ([[0, 0]] * 3, [0, 0])


def test_a_mean_over_tokens():
    assert mean_of_rows(np.array([[1.0, 0.0], [4.0, 4.0]]), [3, 1]).tolist() == [1.75, 1.0]
