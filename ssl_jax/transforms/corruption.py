"""Corruptions of images for denoising autoencoders (Vincent et al. 2008 and 2010).

References: doi:10.1145/1390156.1390294 and https://jmlr.org/papers/v11/vincent10a.html. Images are float32 `[height,
width, channels]` in [0, 1]. Masking and salt-and-pepper noise replace all channels of a pixel. All functions are pure
functions of (key, image), keep the shape and run on the device inside the training step.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssl_jax.transforms.selection import choose

Corruption = Callable[[jax.Array, jax.Array], jax.Array]
"""`(key, image) -> image`."""


def gaussian(rng: jax.Array, image: jax.Array, deviation: float) -> jax.Array:
    """Adds Gaussian noise with this standard deviation. As in the paper, values may leave [0, 1]."""
    return image + deviation * jax.random.normal(rng, image.shape, jnp.float32)


def masking(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Sets a random subset of the pixels to 0; their number is `share` of all, rounded."""
    return jnp.where(_chosen(rng, image, share), 0.0, image)


def salt_and_pepper(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """Sets a random subset of the pixels, as in `masking`, to 0 or 1 with equal probability."""
    which, coin = jax.random.split(rng)
    flips = jax.random.bernoulli(coin, jnp.float32(0.5), (*image.shape[:2], 1))
    return jnp.where(_chosen(which, image, share), flips.astype(image.dtype), image)


def corrupt(rng: jax.Array, images: jax.Array, corruption: Corruption) -> jax.Array:
    """Corrupts a batch `[batch, height, width, channels]`.

    Each image has its own key, so that the result does not depend on the number of devices.
    """
    return jax.vmap(corruption)(jax.random.split(rng, images.shape[0]), images)


def _chosen(rng: jax.Array, image: jax.Array, share: float) -> jax.Array:
    """A random subset of the pixels, bool `[height, width, 1]`."""
    height, width, _ = image.shape
    bits = jax.random.bits(rng, (height * width,), jnp.uint32)
    count = jnp.int32(round(share * height * width))
    return choose(bits, jnp.ones(height * width, bool), count).reshape(height, width, 1)
