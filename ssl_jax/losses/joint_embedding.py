"""Losses that bring two views of an image together, each a `Mean` over its examples.

An example's weight is 0 where it only fills up a batch: it then counts neither for itself nor as a negative.
"""

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean
from ssl_jax.placement import along_batch, whole

EPSILON = 1e-12
"""Least squared norm: a vector of zeros is normalised to zeros, with a finite gradient."""


def normalise(x: jax.Array) -> jax.Array:
    """`x [..., width]` at unit length, in float32.

    Example:
      >>> print(normalise(jnp.array([3.0, 4.0])))
      [0.6 0.8]
    """
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=-1, keepdims=True), EPSILON))


def nt_xent(first: jax.Array, second: jax.Array, weights: jax.Array, *, temperature: float) -> Mean:
    """Normalised temperature-scaled cross-entropy (SimCLR, arXiv:2002.05709, equation 1).

    Each of the 2N views has to recognise the other view of its image among the 2N - 1 others of the global batch. The
    loss is the mean over all 2N views, as in the paper's algorithm 1, lightly and solo-learn; google-research/simclr
    adds the means of the two directions, which is twice that.

    Args:
      first, second: [batch, width] projections of the two views, any float type; computed in float32.
      weights: [batch] float32, 1 for images that count.
      temperature: above 0; similarities are divided by it.

    Example:
      >>> total, weight = nt_xent(jnp.eye(2), jnp.eye(2), jnp.ones(2), temperature=1.0)
      >>> print(round(float(total / weight), 4))  # log(e + 2) - 1
      0.5514
    """
    batch = first.shape[0]
    # The two views of an image stay neighbours, hence on their device; only the keys are gathered.
    views = along_batch(jnp.stack([normalise(first), normalise(second)], axis=1).reshape(2 * batch, -1))
    # In full precision: half precision errs by 2^-9 of a similarity, which a small temperature multiplies.
    similarities = jnp.matmul(views, whole(views).T, precision=jax.lax.Precision.HIGHEST) / temperature
    counts = jnp.repeat(weights, 2)
    image = jnp.arange(2 * batch) // 2
    negatives = (counts > 0)[None, :] & (image[:, None] != image[None, :])
    pairs = views.reshape(batch, 2, -1)
    positives = jnp.repeat(jnp.sum(pairs[:, 0] * pairs[:, 1], axis=-1) / temperature, 2)
    # log(1 + sum exp(negative - positive)) rather than a difference of two logarithms: exact for small losses too.
    losses = jax.nn.softplus(jax.nn.logsumexp(similarities, axis=1, where=negatives) - positives)
    return Mean.of(jnp.where(counts > 0, losses, 0), counts)


def cosine_regression(prediction: jax.Array, target: jax.Array, weights: jax.Array) -> Mean:
    """Squared distance of the normalised vectors, 2 - 2 cos (BYOL, arXiv:2006.07733, equation 2).

    No gradient goes into the target.

    Args:
      prediction, target: [batch, width], any float type; computed in float32.
      weights: [batch] float32.

    Example:
      >>> total, weight = cosine_regression(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 5.0]]), jnp.ones(1))
      >>> print(float(total), float(weight))
      2.0 1.0
    """
    cosine = jnp.sum(normalise(prediction) * normalise(jax.lax.stop_gradient(target)), axis=-1)
    return Mean.of(2 - 2 * cosine, weights)
