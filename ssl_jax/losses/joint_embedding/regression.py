"""Regression of one view on the other, without negatives."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssl_jax.losses.joint_embedding.vectors import normalise
from ssl_jax.method import Mean


def cosine_regression(prediction: jax.Array, target: jax.Array, weights: jax.Array) -> Mean:
    """Squared distance of the normalised vectors, 2 - 2 cos (BYOL, arXiv:2006.07733, equation 2).

    No gradient goes into the target.

    Args:
      prediction: [batch, width], any float type; computed in float32.
      target: [batch, width], any float type.
      weights: [batch] float32, 0 for images that do not count.

    Example:
      >>> total, weight = cosine_regression(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 5.0]]), jnp.ones(1))
      >>> print(float(total), float(weight))
      2.0 1.0
    """
    cosine = jnp.sum(normalise(prediction) * normalise(jax.lax.stop_gradient(target)), axis=-1)
    return Mean.of(2 - 2 * cosine, weights)


def symmetric_regression(
    predictions: Sequence[jax.Array], targets: Sequence[jax.Array], weights: jax.Array
) -> Mean:
    """The prediction of each of two views regressed on the target of the other, both distances added.

    BYOL's loss (arXiv:2006.07733, 3.1) with the projections of its target network as targets. SimSiam's
    (arXiv:2011.10566, equation 4), plus 1, is a quarter of it with the network's own projections as targets.

    Args:
      predictions: of the first and the second view, each [batch, width], any float type.
      targets: of the first and the second view, each [batch, width]; they get no gradient.
      weights: [batch] float32, 0 for images that do not count.

    Example:
      >>> east, north = jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]])
      >>> total, weight = symmetric_regression((east, north), (east, east), jnp.ones(1))
      >>> print(float(total), float(weight))  # east predicts east, north does not
      2.0 1.0
    """
    total, weight = cosine_regression(predictions[0], targets[1], weights)
    other, _ = cosine_regression(predictions[1], targets[0], weights)
    return Mean(total + other, weight)
