"""Clusters and labels: the matching against all permutations, k-means against its definition."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.evals.clusters import agreement, fit_kmeans, nearest_centre


@pytest.mark.parametrize(("clusters", "classes"), [(4, 4), (5, 3), (3, 5), (1, 4), (4, 1)])
def test_accuracy_is_the_best_of_all_one_to_one_matchings(clusters, classes):
    rng = np.random.default_rng(clusters)
    for _ in range(5):
        labels = np.concatenate([np.arange(classes), rng.integers(0, classes, 40)])
        found = rng.integers(0, clusters, len(labels))
        best = 0.0
        size = max(clusters, classes)
        for permutation in itertools.permutations(range(size)):
            best = max(best, float((np.array(permutation)[found] == labels).mean()))
        scores = agreement(found, labels, size=clusters)
        assert scores.accuracy == pytest.approx(best)
        assert sorted(scores.order) == list(range(clusters))
        matched = min(clusters, classes)
        if clusters >= classes:  # then the order itself says which cluster stands for which label
            own = (scores.order[:matched][labels] == found).mean()
            assert own == pytest.approx(best)
        np.testing.assert_allclose(scores.shares.sum(1), 1)


def test_mutual_information_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    labels, found = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    found[labels == 1] = 2
    joint = np.zeros((3, 4))
    np.add.at(joint, (labels, found), 1 / 200)
    rows, columns = joint.sum(1), joint.sum(0)
    seen = joint > 0
    mutual = (joint[seen] * np.log((joint / np.outer(rows, columns))[seen])).sum()
    entropies = [-(p[p > 0] * np.log(p[p > 0])).sum() for p in (rows, columns)]
    assert agreement(found, labels, size=4).nmi == pytest.approx(mutual / np.mean(entropies))
    renamed = agreement(np.array([3, 1, 0, 2])[labels], labels, size=4)
    assert renamed[:2] == pytest.approx((1.0, 1.0))
    assert list(renamed.order) == [3, 1, 0, 2]


def test_what_has_no_label_is_left_out():
    labels, found = np.array([0, 1, -1, -1]), np.array([1, 0, 0, 0])
    assert agreement(found, labels, size=2).accuracy == 1
    with pytest.raises(UserError, match="no example has a label"):
        agreement(found, np.full(4, -1), size=2)


def test_nearest_centre_and_kmeans():
    rng = np.random.default_rng(0)
    places = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 7.0]])
    points = (places[rng.integers(0, 3, 60)] + 0.1 * rng.normal(size=(60, 2))).astype(np.float32)
    centres = fit_kmeans(points, 3, seed=0).astype(np.float32)
    found = np.asarray(nearest_centre(jnp.asarray(points), jnp.asarray(centres)))
    distances = np.square(points[:, None] - centres[None]).sum(-1)
    np.testing.assert_array_equal(found, distances.argmin(1))
    for number in range(3):
        np.testing.assert_allclose(points[found == number].mean(0), centres[number], atol=1e-5)
    assert fit_kmeans(points[:2], 3, seed=0).shape == (2, 2)
