"""Losses on the statistics of features over a batch: the features of two views agree, and no two features correlate."""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean

BARLOW_EPSILON, VICREG_EPSILON = 1e-5, 1e-4
"""Added to a variance before its root is taken, as in the authors' codes."""


def barlow_twins(first: jax.Array, second: jax.Array, weights: jax.Array, *, redundancy: float) -> Mean:
    """Squared distance of the cross-correlation matrix of two views from the identity (arXiv:2103.03230, equation 1).

    Args:
      first: [batch, width] projections of one view of each image, float32.
      second: [batch, width] projections of the other view.
      weights: [batch] float32, 0 for images that do not count.
      redundancy: weight of the elements off the diagonal; the paper's lambda.

    Example:
      >>> views = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # two independent features
      >>> total, weight = barlow_twins(views, views, jnp.ones(4), redundancy=0.005)
      >>> print(round(float(total / weight), 4))
      0.0
    """
    count = weights.sum()
    divisor = jnp.where(count > 0, count, 1)
    weights = weights[:, None]

    def standardise(z: jax.Array) -> jax.Array:
        mean = (z * weights).sum(0, keepdims=True) / divisor
        variance = (jnp.square(z - mean) * weights).sum(0, keepdims=True) / divisor
        return (z - mean) * jax.lax.rsqrt(variance + BARLOW_EPSILON)

    correlation = (standardise(first) * weights).T @ standardise(second) / divisor
    agreement = jnp.square(jnp.diagonal(correlation) - 1).sum()
    overlap = jnp.square(correlation).sum() - jnp.square(jnp.diagonal(correlation)).sum()
    return Mean((agreement + redundancy * overlap) * count, count)


def vicreg(first: jax.Array, second: jax.Array, weights: jax.Array) -> dict[str, Mean]:
    """Invariance, variance and covariance of two views (arXiv:2105.04906, equations 1 to 5), each to be weighed.

    They are averaged as in the authors' code: the distance is a mean over features; the hinges are averaged over the
    two views, where the paper's equation 6 and algorithm 1 add them; the covariances of the two views are added.

    Args:
      first: [batch, width] projections of one view of each image, float32.
      second: [batch, width] projections of the other view.
      weights: [batch] float32, 0 for images that do not count.

    Returns:
      `invariance`, the squared distance of the views; `variance`, the hinge that keeps the standard deviation of every
      feature at 1; `covariance`, the squared covariances of different features.

    Example:
      >>> views = 2 * jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])  # spread, and independent
      >>> terms = vicreg(views, views + 1, jnp.ones(4))
      >>> print({name: float(total / weight) for name, (total, weight) in terms.items()})
      {'invariance': 1.0, 'variance': 0.0, 'covariance': 0.0}
    """
    count = weights.sum()
    divisor = jnp.where(count > 0, count, 1)
    column = weights[:, None]
    width = first.shape[-1]

    def centre(z: jax.Array) -> jax.Array:
        return (z - (z * column).sum(0, keepdims=True) / divisor) * column

    def covariance(z: jax.Array) -> jax.Array:
        return centre(z).T @ centre(z) / jnp.maximum(count - 1, 1)

    def hinge(covariance: jax.Array) -> jax.Array:
        return jax.nn.relu(1 - jnp.sqrt(jnp.diagonal(covariance) + VICREG_EPSILON)).mean()

    def overlap(covariance: jax.Array) -> jax.Array:
        return (jnp.square(covariance).sum() - jnp.square(jnp.diagonal(covariance)).sum()) / width

    both = covariance(first), covariance(second)
    return {
        "invariance": Mean.of(jnp.square(first - second).mean(-1), weights),
        "variance": Mean((hinge(both[0]) + hinge(both[1])) / 2 * count, count),
        "covariance": Mean((overlap(both[0]) + overlap(both[1])) * count, count),
    }
