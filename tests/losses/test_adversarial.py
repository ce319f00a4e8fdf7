"""Losses of critics against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.losses.adversarial import gradient_penalty, prefix_critic


def test_the_gradient_penalty_equals_numpy():
    rng = np.random.default_rng(0)
    kernel, scale = rng.normal(size=(6, 4)), rng.normal(size=4)
    real, generated, mix = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, 3)), rng.random(5)
    weights = np.array([1, 1, 0, 1, 1], np.float32)

    def critic(x):
        return jnp.tanh(x.reshape(len(x), 6) @ jnp.float32(kernel)) @ jnp.float32(scale)

    between = (mix[:, None, None] * real + (1 - mix)[:, None, None] * generated).reshape(5, 6)
    slopes = ((1 - np.tanh(between @ kernel) ** 2) * scale) @ kernel.T
    expected = (np.linalg.norm(slopes, axis=-1) - 1) ** 2
    total, weight = gradient_penalty(critic, *map(jnp.float32, (real, generated, mix)), weights)
    np.testing.assert_allclose(total, (expected * weights).sum(), rtol=1e-4)
    assert weight == 4


def test_the_gradient_penalty_trains_the_critic_and_not_what_it_judges():
    points = jax.random.normal(jax.random.key(0), (4, 3))

    def penalty(scale, real, generated):
        return gradient_penalty(
            lambda x: scale * jnp.square(x).sum(-1), real, generated, jnp.full(4, 0.5), jnp.ones(4)
        ).sum

    slopes = jax.grad(penalty, (0, 1, 2))(jnp.float32(2), points, 2 * points)
    assert slopes[0] != 0
    assert not np.any(slopes[1])
    assert not np.any(slopes[2])
    flat = jax.grad(penalty)(jnp.float32(0), points, points)
    assert np.isfinite(flat)


def test_the_critic_of_prefixes_equals_numpy():
    rng = np.random.default_rng(1)
    logits, weights = rng.normal(size=(3, 4)), np.array([1, 0.5, 2], np.float32)
    present = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    for real in (True, False):
        losses = np.log1p(np.exp(-logits if real else logits))
        expected = (losses * present).sum(-1) / present.sum(-1)
        total, weight = prefix_critic(jnp.float32(logits), present, weights, real=real)
        np.testing.assert_allclose(total, (expected * weights).sum(), rtol=1e-5)
        assert weight == 3.5
