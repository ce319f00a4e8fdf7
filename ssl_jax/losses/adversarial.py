"""Losses of critics that tell real examples from generated ones, each a `Mean` over its examples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean


def prefix_critic(logits: jax.Array, present: jax.Array, weights: jax.Array, *, real: bool) -> Mean:
    """Cross-entropy of a critic that judges every prefix of a text (arXiv:1810.02851, section 4.2).

    The mean over the prefixes of a text counts as one example, so that long texts do not weigh more.

    Args:
      logits: [batch, length], of the probability that a prefix is real.
      present: [batch, length], 0 after the end of the text.
      weights: [batch] float32, 0 for examples that do not count.
      real: whether the texts are real.

    Example:
      >>> total, weight = prefix_critic(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]), jnp.ones(1), real=True)
      >>> print(round(float(total), 4), float(weight))
      0.6931 1.0
    """
    losses = jax.nn.softplus(-logits if real else logits)
    return Mean.of(mean_over_text(losses, present), weights)


def mean_over_text(values: jax.Array, present: jax.Array) -> jax.Array:
    """The mean of `values [batch, length]` over the tokens that are present: [batch], 0 for an empty text."""
    present = jnp.float32(present)
    return (values * present).sum(-1) / jnp.maximum(present.sum(-1), 1)


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array],
    real: jax.Array,
    generated: jax.Array,
    mix: jax.Array,
    weights: jax.Array,
) -> Mean:
    """(|gradient| - 1)^2 of a critic between real and generated examples (WGAN-GP, arXiv:1704.00028, algorithm 1).

    Args:
      critic: `[batch, ...] -> [batch]`, each score from its own example.
      real, generated: [batch, ...]; they get no gradient.
      mix: [batch], the share of the real example in each mixture, from 0 to 1.
      weights: [batch] float32, 0 for examples that do not count.
    """
    share = mix.reshape(-1, *[1] * (real.ndim - 1))
    between = jax.lax.stop_gradient(share * real + (1 - share) * generated)
    slopes = jax.grad(lambda x: critic(x).sum())(between)
    square = jnp.square(slopes).reshape(len(slopes), -1).sum(-1)
    # The square root has no slope at 0.
    norm = jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
    return Mean.of(jnp.square(norm - 1), weights)
