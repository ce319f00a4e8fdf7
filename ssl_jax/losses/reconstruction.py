"""Distances of reconstructions from their images, each a `Mean` over images of a mean over pixels."""

import jax
import jax.numpy as jnp
import optax

from ssl_jax.method import Mean


def squared_error(reconstruction: jax.Array, images: jax.Array, weights: jax.Array) -> Mean:
    """Squared error, averaged over the pixels of an image.

    Args:
      reconstruction: float32 [batch, ...].
      images: float32 [batch, ...].
      weights: [batch] float32, 0 for images that do not count.

    Example:
      >>> total, weight = squared_error(jnp.array([[0.0, 1.0]]), jnp.array([[0.0, 0.5]]), jnp.ones(1))
      >>> print(float(total / weight))
      0.125
    """
    return _over_images(jnp.square(reconstruction - images), weights)


def pixel_cross_entropy(logits: jax.Array, images: jax.Array, weights: jax.Array) -> Mean:
    """Cross-entropy in nats, averaged over the pixels of an image; the brightness is the probability of white.

    The loss of Hinton & Salakhutdinov 2006 and Vincent et al. 2008. Its minimum is the entropy of the pixels, which is
    0 only where all of them are black or white.

    Args:
      logits: float32 [batch, ...].
      images: float32 [batch, ...] in [0, 1].
      weights: [batch] float32, 0 for images that do not count.

    Example:
      >>> total, weight = pixel_cross_entropy(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.ones(1))
      >>> print(round(float(total / weight), 4))
      0.6931
    """
    return _over_images(optax.sigmoid_binary_cross_entropy(logits, images), weights)


def _over_images(values: jax.Array, weights: jax.Array) -> Mean:
    return Mean.of(values.reshape(values.shape[0], -1).mean(-1), weights)
