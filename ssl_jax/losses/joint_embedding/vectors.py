"""Vectors of unit length, which most losses on pairs of views compare."""

import jax
import jax.numpy as jnp

EPSILON = 1e-12
"""Smallest squared norm: a vector of zeros is normalised to zeros, with a finite gradient."""


def normalise(x: jax.Array) -> jax.Array:
    """Vectors scaled to unit length.

    Args:
      x: [..., width], any float type; computed in float32.

    Returns:
      float32 [..., width].

    Example:
      >>> print(normalise(jnp.array([3.0, 4.0])))
      [0.6 0.8]
    """
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), EPSILON))
