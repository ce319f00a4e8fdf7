"""How far a reconstruction is from its image, as a `Mean` over images of a mean over pixels."""

import jax
import jax.numpy as jnp
import optax

from ssl_jax.method import Mean


def squared_error(rebuilt: jax.Array, images: jax.Array, weights: jax.Array) -> Mean:
    """Mean squared error of a pixel.

    Args:
      rebuilt, images: float32 [batch, ...].
      weights: [batch], 0 for images that do not count.

    Example:
      >>> total, weight = squared_error(jnp.array([[0.0, 1.0]]), jnp.array([[0.0, 0.5]]), jnp.ones(1))
      >>> print(float(total / weight))
      0.125
    """
    return _over_images(jnp.square(rebuilt - images), weights)


def pixel_cross_entropy(logits: jax.Array, images: jax.Array, weights: jax.Array) -> Mean:
    """Mean cross-entropy in nats of a pixel, whose brightness is taken for the probability of being white.

    Hinton & Salakhutdinov 2006 and Vincent et al. 2008 train by it. Its least value is the pixels' own entropy, which
    is 0 for black and white ones only.

    Args:
      logits: float32 [batch, ...].
      images: float32 [batch, ...] in [0, 1].
      weights: [batch], 0 for images that do not count.

    Example:
      >>> total, weight = pixel_cross_entropy(jnp.zeros((1, 2)), jnp.array([[0.0, 1.0]]), jnp.ones(1))
      >>> print(round(float(total / weight), 4))
      0.6931
    """
    return _over_images(optax.sigmoid_binary_cross_entropy(logits, images), weights)


def _over_images(values: jax.Array, weights: jax.Array) -> Mean:
    return Mean.of(values.reshape(values.shape[0], -1).mean(-1), weights)
