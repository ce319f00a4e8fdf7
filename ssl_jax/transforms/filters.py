"""3 x 3 filters of images: baselines for denoising that need no training."""

import jax
import jax.numpy as jnp


def median_filter(images: jax.Array) -> jax.Array:
    """The median of each pixel and its neighbours; edge pixels are repeated outwards.

    Args:
      images: `[batch, height, width, channels]`.
    """
    return jnp.median(_neighbourhoods(images), axis=0)


def mean_filter(images: jax.Array) -> jax.Array:
    """The mean of each pixel and its neighbours; edge pixels are repeated outwards.

    Args:
      images: `[batch, height, width, channels]`.
    """
    return _neighbourhoods(images).mean(0)


def _neighbourhoods(images: jax.Array) -> jax.Array:
    """`[9, batch, height, width, channels]`, each pixel's 3 x 3 neighbourhood."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return jnp.stack([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
