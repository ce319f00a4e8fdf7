import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from ssl_jax.errors import UserError
from ssl_jax.evals import neighbours
from ssl_jax.evals.neighbours import knn_accuracy, nearest


@pytest.fixture
def data():
    """(bank, labels, queries, labels): five clouds that overlap, of unequal size and with gaps in the labels."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 8))
    bank_labels, labels = rng.choice(5, 300, p=[0.4, 0.3, 0.1, 0.1, 0.1]), rng.integers(0, 5, 101)

    def features(labels):
        scale = rng.uniform(0.1, 10, (len(labels), 1))  # lengths must not matter
        return ((centres[labels] + rng.normal(size=(len(labels), 8))) * scale).astype(np.float32)

    return features(bank_labels), 10 * bank_labels, features(labels), 10 * labels


@pytest.mark.parametrize("k", [1, 5, 20, 300])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_votes_are_scikit_learns(data, k, temperature):
    bank, bank_labels, queries, labels = data
    reference = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distances: np.exp((1 - distances) / temperature)
    ).fit(bank, bank_labels)
    expected = reference.score(queries, labels)
    assert knn_accuracy(bank, bank_labels, queries, labels, k=k, temperature=temperature) == expected
    assert 0.4 < expected < 0.95


@pytest.mark.parametrize("elements", [1, 700, 5000])
def test_chunks_change_nothing(data, elements, monkeypatch):
    expected = knn_accuracy(*data, k=7), nearest(data[0], data[2], 7)
    monkeypatch.setattr(neighbours, "CHUNK_ELEMENTS", elements)
    assert knn_accuracy(*data, k=7) == expected[0]
    np.testing.assert_array_equal(nearest(data[0], data[2], 7), expected[1])


def test_nearest_are_scikit_learns(data):
    bank, _, queries, _ = data
    expected = NearestNeighbors(n_neighbors=4, metric="cosine").fit(bank).kneighbors(queries)[1]
    np.testing.assert_array_equal(nearest(bank, queries, 4), expected)


def test_a_small_temperature_does_not_overflow(data):
    bank, bank_labels, queries, labels = data
    assert knn_accuracy(bank, bank_labels, queries, labels, k=20, temperature=1e-4) == knn_accuracy(
        bank, bank_labels, queries, labels, k=1
    )


def test_a_class_that_the_bank_lacks_is_never_right(data):
    bank, bank_labels, queries, labels = data
    known = knn_accuracy(bank, bank_labels, queries, labels, k=5)
    renamed = np.where(np.arange(len(labels)) % 2, labels, 999)
    assert 0 < knn_accuracy(bank, bank_labels, queries, renamed, k=5) < known


def test_zeros_are_features_too(data):
    bank, bank_labels, queries, labels = data
    queries = queries.copy()
    queries[0] = 0
    assert knn_accuracy(bank, bank_labels, queries, labels, k=5) > 0.4


def test_user_errors(data):
    bank, bank_labels, queries, labels = data
    with pytest.raises(UserError, match="k is 301, but the bank has 300"):
        knn_accuracy(bank, bank_labels, queries, labels, k=301)
    with pytest.raises(UserError, match="k is 0"):
        nearest(bank, queries, 0)
    with pytest.raises(UserError, match="labels are missing for a probe: 101 of 101 test examples"):
        knn_accuracy(bank, bank_labels, queries, np.full_like(labels, -1))
