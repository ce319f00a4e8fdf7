"""Bits and classes that are drawn: their probabilities and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.quantization.stochastic import bernoulli_bits, gumbel_softmax

LOGITS = np.array([-3.0, -0.5, 0.0, 1.0, 4.0], np.float32)


def test_bernoulli_bits_have_their_probabilities_and_the_gradient_of_them():
    draws, logits = 20_000, jnp.asarray(LOGITS)
    bits = np.asarray(bernoulli_bits(jnp.broadcast_to(logits, (draws, 5)), jax.random.key(0)))
    assert set(np.unique(bits)) == {0, 1}
    p = 1 / (1 + np.exp(-np.float64(LOGITS)))
    assert (np.abs(bits.mean(0) - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()
    np.testing.assert_array_equal(bernoulli_bits(logits), [0, 0, 0, 1, 1])
    for rng in (None, jax.random.key(1)):
        slope = jax.grad(lambda logits, rng=rng: bernoulli_bits(logits, rng).sum())(logits)
        np.testing.assert_allclose(slope, p * (1 - p), rtol=1e-5)


@functools.partial(jax.jit, static_argnames=("draws", "hard"))
def drawn(rng, temperature, draws, hard=False):
    return gumbel_softmax(rng, jnp.broadcast_to(jnp.asarray(LOGITS), (draws, 5)), temperature, hard=hard)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 50.0])
def test_classes_of_gumbel_softmax_are_drawn_with_their_probabilities(temperature):
    """The largest is a class drawn from softmax(logits), whatever the temperature."""
    draws = 20_000
    classes = np.asarray(drawn(jax.random.key(0), temperature, draws)).argmax(-1)
    expected = draws * np.exp(LOGITS) / np.exp(LOGITS).sum()
    chi_square = (np.square(np.bincount(classes, minlength=5) - expected) / expected).sum()
    assert chi_square < 18.5  # 4 degrees of freedom, 1 in 1,000


def test_gumbel_softmax_at_both_ends_of_its_temperature():
    rng = jax.random.key(3)
    noisy = LOGITS + np.asarray(jax.random.gumbel(rng, (50, 5)))
    cold = drawn(rng, 1e-4, 50)
    np.testing.assert_allclose(cold, np.eye(5)[noisy.argmax(-1)], atol=1e-6)
    np.testing.assert_allclose(drawn(rng, 1e6, 50), np.full((50, 5), 0.2), atol=1e-4)
    exact = np.exp(noisy / 0.7)
    np.testing.assert_allclose(drawn(rng, 0.7, 50), exact / exact.sum(-1, keepdims=True), rtol=1e-4)


def test_hard_gumbel_softmax_is_one_hot_with_the_gradient_of_the_soft_one():
    rng = jax.random.key(5)
    logits, back = jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 5)), jnp.float32)

    @functools.partial(jax.jit, static_argnames="hard")
    def both(logits, hard):
        value, pull = jax.vjp(lambda logits: gumbel_softmax(rng, logits, 0.5, hard=hard), logits)
        return value, pull(back)[0]

    (soft, soft_slope), (hard, hard_slope) = both(logits, False), both(logits, True)
    np.testing.assert_array_equal(hard, np.eye(5)[np.asarray(soft).argmax(-1)])
    np.testing.assert_allclose(hard_slope, soft_slope, rtol=1e-6)
    assert (np.abs(soft_slope) > 0).all()


def test_half_precision_keeps_its_type():
    x = jnp.zeros((50, 4), jnp.bfloat16)
    assert gumbel_softmax(jax.random.key(0), x, 1.0, hard=True).dtype == jnp.bfloat16
    assert bernoulli_bits(x, jax.random.key(0)).dtype == jnp.bfloat16


def test_a_temperature_of_0_or_less_is_refused():
    for temperature in (0, 0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="temperature"):
            gumbel_softmax(jax.random.key(0), jnp.zeros((2, 3)), temperature)
