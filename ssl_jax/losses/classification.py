"""Cross-entropy over classes, as a `Mean` over its examples."""

import jax
import jax.numpy as jnp
import optax

from ssl_jax.method import Mean


def cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Mean:
    """Weighted cross-entropy of integer labels.

    Args:
      logits: [..., classes], any float type; the loss is computed in float32.
      labels: [...] int32; where the weight is 0, any class will do.
      weights: [...] float32, 0 for examples that do not count.

    Example:
      >>> total, weight = cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([1]), jnp.array([1.0]))
      >>> print(round(float(total), 4), float(weight))
      0.6931 1.0
    """
    losses = optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), labels)
    return Mean.of(losses, weights)
