"""Metrics that are logged, not minimised; means of the same kind as the losses."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean
from ssl_jax.ops.reductions import is_argmax


def accuracy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Mean:
    """Share of the predictions whose largest logit is that of the label; of equal logits the first counts.

    Args:
      logits: [..., classes].
      labels: [...] int32.
      weights: [...] float32, 0 for examples that do not count.

    Example:
      >>> correct, weight = accuracy(jnp.array([[1.0, 3.0], [2.0, 0.0]]), jnp.array([1, 1]), jnp.ones(2))
      >>> print(float(correct), float(weight))
      1.0 2.0
    """
    return Mean.of(is_argmax(logits, labels), weights)


def all_right(right: jax.Array, weights: jax.Array) -> Mean:
    """Share of the rows in which all predictions that count are correct, of the rows that have such predictions.

    Args:
      right: [batch, predictions] bool, whether each prediction is correct.
      weights: [batch, predictions] float32, 0 for predictions that do not count.

    Example:
      >>> right = jnp.array([[True, False], [True, False]])
      >>> rows, weight = all_right(right, jnp.array([[1.0, 1.0], [1.0, 0.0]]))
      >>> print(float(rows), float(weight))
      1.0 2.0
    """
    counts = weights > 0
    counted = counts.any(-1)
    rows = (right | ~counts).all(-1) & counted
    return Mean.of(rows.astype(jnp.float32), counted.astype(jnp.float32))
