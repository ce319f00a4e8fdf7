"""Random vectors of a batch, and k-means, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.quantization.kmeans import kmeans, sample_vectors
from tests.models.quantization.codebooks import CODES, WIDTH, counted, vectors


def test_draws_are_of_the_batch_distinct_and_uniform():
    rng = jax.random.key(0)
    x = jnp.arange(13.0)[:, None] * jnp.ones((1, WIDTH))
    drawn = jax.jit(jax.vmap(lambda rng: sample_vectors(rng, x, 5)[:, 0]))(jax.random.split(rng, 2000))
    assert (np.asarray([len(set(row)) for row in drawn.tolist()]) == 5).all()
    for column in np.asarray(drawn).T:
        observed = np.bincount(column.astype(int), minlength=13)
        chi_square = (np.square(observed - 2000 / 13) / (2000 / 13)).sum()
        assert chi_square < 32.9  # 12 degrees of freedom, 1 in 1,000
    assert sample_vectors(rng, x[:2], 5).shape == (5, WIDTH)

    weights = jnp.array([0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0, 0, 0])
    drawn = jax.jit(jax.vmap(lambda rng: sample_vectors(rng, x, 5, weights)[:, 0]))(
        jax.random.split(rng, 500)
    )
    assert set(np.asarray(drawn).astype(int).ravel()) == {1, 2, 6, 8, 9}


def test_kmeans_is_lloyds_algorithm():
    x, rng = vectors((8, 9), seed=3), jax.random.key(4)
    weights = np.arange(72).reshape(8, 9) % 4 > 0
    wanted = np.float64(jax.jit(sample_vectors, static_argnums=2)(rng, x, 5, weights))
    rows = x[weights]
    for _ in range(4):
        counts, sums = counted(wanted, rows)
        wanted = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], wanted)
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(rng, x, 5, 4, weights)
    np.testing.assert_allclose(centres, wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(counts, counted(wanted, rows)[0])


def test_kmeans_of_one_point_is_finite():
    centres, counts = jax.jit(kmeans, static_argnums=(2, 3))(jax.random.key(0), jnp.ones((9, WIDTH)), 3, 5)
    np.testing.assert_array_equal(centres, np.ones((3, WIDTH)))
    assert counts.sum() == 9


def test_kmeans_of_fewer_vectors_than_centres_is_refused():
    with pytest.raises(UserError, match=r"6 codes on the 5 vectors.*larger batch"):
        kmeans(jax.random.key(0), jnp.zeros((5, WIDTH)), CODES, 1)
