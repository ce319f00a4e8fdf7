"""Stochastic codes with gradients: bits drawn by their probabilities, and classes drawn by Gumbel-softmax."""

import math

import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.quantization.straight_through import straight_through


def bernoulli_bits(logits: jax.Array, rng: jax.Array | None = None) -> jax.Array:
    """Draws bits that are 1 with the probability of their logits, straight-through (arXiv:1308.3432).

    Args:
      logits: `[...]`, any float type.
      rng: a key; None for the likelier value of each bit, as a trained encoder gives it.

    Returns:
      0 and 1 in the dtype of `logits`, with the gradient of the probabilities.
    """
    probabilities = jax.nn.sigmoid(logits)
    bits = logits > 0 if rng is None else jax.random.bernoulli(rng, probabilities.astype(jnp.float32))
    return straight_through(bits, probabilities)


def gumbel_softmax(
    rng: jax.Array, logits: jax.Array, temperature: jax.Array | float, *, hard: bool = False
) -> jax.Array:
    """A draw from a categorical distribution that has a gradient (Jang, Gu & Poole, arXiv:1611.01144, equation 2).

    As the temperature approaches 0, the result approaches the one-hot vector of a class drawn by softmax(logits). At a
    high temperature all classes have nearly the same share.

    Args:
      rng: a key.
      logits: `[..., classes]`, any float type; computed in float32.
      temperature: above 0. An array is not checked.
      hard: returns the one-hot vector of the largest element, with the gradient of the soft result (section 2.2).

    Returns:
      `[..., classes]` that sum to 1, in the dtype of `logits`.

    Raises:
      UserError: the temperature is a number and not above 0.
    """
    if isinstance(temperature, int | float) and not 0 < temperature < math.inf:
        raise UserError(
            f"Gumbel-softmax: temperature {temperature} must be above 0; small ones, such as 0.1, are nearly one-hot."
        )
    noisy = logits.astype(jnp.float32) + jax.random.gumbel(rng, logits.shape, jnp.float32)
    soft = jax.nn.softmax(noisy / temperature, axis=-1)
    if hard:
        soft = straight_through(
            jax.nn.one_hot(jnp.argmax(noisy, -1), logits.shape[-1], dtype=jnp.float32), soft
        )
    return soft.astype(logits.dtype)
