"""Filters of the 3 x 3 neighbourhood: what restores a noisy image without learning."""

import jax
import jax.numpy as jnp


def median_filter(images: jax.Array) -> jax.Array:
    """[batch, height, width, channels]: the median of each pixel and its neighbours; the rim is repeated outwards."""
    return jnp.median(_neighbourhoods(images), axis=0)


def mean_filter(images: jax.Array) -> jax.Array:
    """The same with their mean."""
    return _neighbourhoods(images).mean(0)


def _neighbourhoods(images: jax.Array) -> jax.Array:
    """[9, batch, height, width, channels]."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return jnp.stack([padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)])
