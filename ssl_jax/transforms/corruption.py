"""Noise on images that an autoencoder is to take off again (Vincent et al. 2008, https://doi.org/10.1145/1390156.1390294;
2010, https://jmlr.org/papers/v11/vincent10a.html).

Images are float32 `[height, width, channels]` in [0, 1]; what is hidden of a pixel is hidden in all of its channels.
Pure functions of (key, image) that keep the shape, to be run on the device inside the step.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssl_jax.transforms.selection import choose

Corruption = Callable[[jax.Array, jax.Array], jax.Array]
"""`(key, image) -> image`."""


def gaussian(rng: jax.Array, image: jax.Array, deviation: float) -> jax.Array:
    """Adds normal noise of this standard deviation to every number. As in the paper, it may leave [0, 1]."""
    return image + deviation * jax.random.normal(rng, image.shape)


def masking(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Sets a share of the pixels to 0: always as many, a random choice."""
    return jnp.where(_chosen(rng, image, share), 0.0, image)


def salt_and_pepper(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Sets a share of the pixels to 0 or 1 by the flip of a coin: always as many, a random choice."""
    which, coin = jax.random.split(rng)
    flips = jax.random.bernoulli(coin, shape=(*image.shape[:2], 1))
    return jnp.where(_chosen(which, image, share), flips.astype(image.dtype), image)


def corrupt(rng: jax.Array, images: jax.Array, corruption: Corruption) -> jax.Array:
    """A batch [batch, height, width, channels], each image by a key of its own, whatever the number of devices."""
    return jax.vmap(corruption)(jax.random.split(rng, images.shape[0]), images)


def _chosen(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """bool `[height, width, 1]`."""
    height, width, _ = image.shape
    bits = jax.random.bits(rng, (height * width,), jnp.uint32)
    count = jnp.int32(round(share * height * width))
    return choose(bits, jnp.ones(height * width, bool), count).reshape(height, width, 1)
