"""Figures that are watched but not minimised, as the same (sum, weight) pairs as the losses."""

import jax
import jax.numpy as jnp


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Predictions whose largest logit is the label's; the first of equal logits counts.

    Args:
      logits: [..., classes].
      labels: [...] int32.
      weights: [...] float32, 0 for examples that do not count.

    Example:
      >>> correct, weight = accuracy(jnp.array([[1.0, 3.0], [2.0, 0.0]]), jnp.array([1, 1]), jnp.ones(2))
      >>> print(float(correct), float(weight))
      1.0 2.0
    """
    correct = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return jnp.sum(correct * weights), jnp.sum(weights)
