"""What keeps codes in use, against NumPy over all codes one by one."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses import quantization

entropy_penalty, perplexity = jax.jit(quantization.entropy_penalty), jax.jit(quantization.perplexity)


def test_perplexity_is_between_one_and_the_number_of_codes():
    counts = np.random.default_rng(0).integers(0, 9, 40).astype(np.float64)
    p = counts[counts > 0] / counts.sum()
    assert float(perplexity(jnp.asarray(counts))) == pytest.approx(np.prod(p**-p), rel=1e-5)
    assert float(perplexity(jnp.full(40, 3.0))) == pytest.approx(40, rel=1e-5)
    assert float(perplexity(jnp.eye(40)[7])) == pytest.approx(1)
    assert float(perplexity(jnp.zeros(40))) == pytest.approx(1)


def penalty_of_the_paper(x, weights, temperature):
    """arXiv:2310.05737, 3.1, over every code: mean entropy, and entropy of the mean."""
    codes = np.array(list(itertools.product([-1, 1], repeat=x.shape[-1])))
    logits = -np.square(x[:, None] - codes[None]).sum(-1) / temperature
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)

    def entropy(p):
        return -(p * np.log(np.maximum(p, 1e-300))).sum(-1)

    mean = (p * weights[:, None]).sum(0) / weights.sum()
    return (entropy(p) * weights).sum() / weights.sum(), entropy(mean)


@pytest.mark.parametrize("bits", [1, 2, 5])
@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_entropy_penalty_is_that_of_all_codes(bits, temperature):
    x = np.random.default_rng(bits).normal(size=(4, 6, bits))
    weights = np.arange(24).reshape(4, 6) % 3
    terms = entropy_penalty(jnp.asarray(x), jnp.asarray(weights), temperature=temperature)
    wanted = penalty_of_the_paper(x.reshape(24, bits), weights.reshape(24), temperature)
    assert all(float(weight) == weights.sum() for _, weight in terms.values())
    certain, diverse = (
        float(terms[name].sum / terms[name].weight) for name in ("code_entropy_loss", "code_diversity_loss")
    )
    assert certain == pytest.approx(wanted[0], rel=1e-4)
    assert diverse == pytest.approx(-wanted[1], rel=1e-4)


def test_the_penalty_is_least_where_codes_are_certain_and_all_used():
    corners = jnp.asarray(list(itertools.product([-9.0, 9.0], repeat=3)))
    terms = entropy_penalty(corners, jnp.ones(8), temperature=0.1)
    assert float(terms["code_entropy_loss"][0]) == pytest.approx(0, abs=1e-6)
    assert float(terms["code_diversity_loss"][0] / 8) == pytest.approx(-3 * np.log(2), rel=1e-5)


def test_gradients_are_finite_at_the_extremes():
    @jax.jit
    @jax.value_and_grad
    def total(x):
        return sum(value for value, _ in entropy_penalty(x, jnp.ones(len(x)), temperature=0.01).values())

    for x in (jnp.full((4, 6), 100.0), jnp.zeros((4, 6)), -jnp.full((4, 6), 1e4)):
        value, slope = total(x)
        assert np.isfinite(value)
        assert np.isfinite(slope).all()
