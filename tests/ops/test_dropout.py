"""Dropout: its rate, its gradient and its random numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssl_jax.ops.dropout import dropout, random_words


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_at_its_rate(rate):
    x = jnp.ones((64, 128, 128))
    y = np.asarray(dropout(x, rate, jax.random.key(0)))
    kept = y != 0
    # Five standard errors of a binomial share.
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)


def test_dropout_is_the_identity_without_a_key_or_a_rate():
    x = normal(0, 3, 4)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


@pytest.mark.parametrize("form", [dropout, dropout.plain])
def test_rates_beyond_the_resolution_of_a_random_word(form):
    x = normal(0, 3, 4)
    assert form(x, 1e-12, jax.random.key(0)) is x
    assert np.isfinite(form(x, 1 - 1e-12, jax.random.key(0))).all()


def test_dropout_backward_uses_the_same_mask():
    x = normal(0, 16, 16)
    y, back = jax.vjp(lambda x: dropout(x, 0.3, jax.random.key(1)), x)
    np.testing.assert_allclose(back(jnp.ones_like(x))[0] * x, y, rtol=1e-6)


def test_random_words_pass_statistical_tests():
    """Uniform bits, independent between neighbours in every direction, between rows, and between keys."""
    shape = (16, 32, 128)
    seeds = [jax.random.bits(jax.random.key(i), (2,), jnp.uint32) for i in range(2)]
    words, others = (np.asarray(random_words(seed, shape)) for seed in seeds)
    n = words.size
    bits = np.unpackbits(words.view(np.uint8)).reshape(n, 32)
    # Each bit is 1 half of the time, and no two bits of a word go together: five standard errors.
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    signs = 1.0 - 2.0 * bits
    correlations = signs.T @ signs / n - np.eye(32)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(n)
    bytes_ = np.bincount((words >> 24).ravel(), minlength=256)
    assert scipy.stats.chisquare(bytes_).pvalue > 1e-4
    drop = (words < 0.1 * 2**32).astype(np.float64)
    other = (others < 0.1 * 2**32).astype(np.float64)
    pairs = [(drop[1:], drop[:-1]), (drop[:, 1:], drop[:, :-1]), (drop[..., 1:], drop[..., :-1])]
    pairs += [(drop[..., 2:], drop[..., :-2]), (drop, other)]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
    # Counts over rows of 128 have the variance of a binomial: no stripes.
    counts = drop.sum(-1).ravel()
    assert scipy.stats.chi2.sf(((counts - 12.8) ** 2 / (128 * 0.09)).sum(), counts.size) > 1e-4


def test_dropout_does_not_depend_on_the_devices():
    x = normal(0, 16, 8, 32)
    alone = dropout(x, 0.2, jax.random.key(3))
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "tensor"))
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", None, "tensor")))
    drop = jax.jit(lambda x: dropout(x, 0.2, jax.random.key(3)))
    np.testing.assert_array_equal(drop(spread), alone)
