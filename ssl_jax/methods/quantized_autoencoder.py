"""VQ-VAE (arXiv:1711.00937) with any quantiser: an image becomes a grid of codes, from which it is reconstructed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.quantization import perplexity
from ssl_jax.losses.reconstruction import squared_error
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.quantization import Quantizer
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.grid_autoencoder import GridAutoencoder
from ssl_jax.models.quantization.codebook import count_and_sum
from ssl_jax.transforms.images import plain_view

MIDDLE = 0.5
"""Pixels are shown to the encoder from -0.5 to 0.5, as in the authors' code."""


class QuantizedAutoencoder(NamedTuple):
    """On batches of `ssl_jax.data.images.batch_shapes`.

    Metrics: `error`, the mean squared error per pixel in [0, 1]; `perplexity` of the codes of a whole batch.

    Attributes:
      codes: how many different ones there are.
      grid: shape of an image's codes: rows, columns, and codes at a place if there are several.
      method: the objective.
      preprocess: `(batch) -> images`, float32 [batch, size, size, channels] in [0, 1].
      encode: `(params, extras, images) -> codes`, int32 [batch, *grid].
      decode: `(params, extras, codes) -> images`.
      represent: the vectors of an image's codes, flat.
    """

    codes: int
    grid: tuple[int, ...]
    method: Method
    preprocess: Callable[[Batch], jax.Array]
    encode: Callable[[Tree, Extras, jax.Array], jax.Array]
    decode: Callable[[Tree, Extras, jax.Array], jax.Array]
    represent: Represent


def pixel_variance(images: jax.Array, weights: jax.Array) -> jax.Array:
    """The variance of all pixels of a batch, at least 1e-6.

    Args:
      images: float32 `[batch, height, width, channels]`.
      weights: float32 `[batch]`, 0 for padding.

    Example:
      >>> print(pixel_variance(jnp.array([[[[1.0]]], [[[3.0]]], [[[9.0]]]]), jnp.array([1.0, 1.0, 0.0])))
      1.0
    """
    each = jnp.broadcast_to(weights[:, None, None, None], images.shape)
    count = jnp.maximum(each.sum(), 1.0)
    mean = (each * images).sum() / count
    return jnp.maximum((each * jnp.square(images - mean)).sum() / count, 1e-6)


def quantized_autoencoder(
    config: ConvConfig,
    quantizer: Quantizer,
    *,
    size: int,
    channels: int,
    latents: int = 1,
    centre: float = 1.0,
    variance: float | None = 1.0,
    dtype: str = "float32",
) -> QuantizedAutoencoder:
    """The method.

    Args:
      size: height and width that images are brought to.
      channels: of an image.
      latents: codes at each place of the grid, all of one codebook; their vectors are the channels of the place.
      centre: share of the shorter side that is kept, in the middle.
      variance: of the data's pixels, which the squared error is divided by in the loss, as in the authors' code: the
        commitment then has the same weight beside it for dim and for bright images. None: of the pixels of each batch.
    """
    network = GridAutoencoder(config, latents * quantizer.width, channels, dtype)
    grid_shape = (*config.coarse((size, size)), *([latents] if latents > 1 else []))

    def preprocess(batch: Batch) -> jax.Array:
        return plain_view(batch["image"], batch["extent"], size, centre)

    def to_grid(params: Tree, images: jax.Array) -> jax.Array:
        grid = network.apply({"params": params["network"]}, images - MIDDLE, method="encode")
        return grid.reshape(-1, *grid_shape, quantizer.width)

    def from_grid(params: Tree, grid: jax.Array) -> jax.Array:
        grid = grid.reshape(*grid.shape[:3], latents * quantizer.width)
        return network.apply({"params": params["network"]}, grid, method="decode") + MIDDLE

    def places(grid: jax.Array, weights: jax.Array) -> jax.Array:
        """The weight of every code of every grid is that of its image: [batch, *grid_shape]."""
        axes = tuple(range(1, 1 + len(grid_shape)))
        return jnp.broadcast_to(jnp.expand_dims(weights, axes), grid.shape[:-1])

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        network_rng, quantizer_rng = jax.random.split(rng)
        params = network.init(network_rng, jnp.zeros((1, size, size, channels), jnp.float32))["params"]
        quantizer_params, extras = quantizer.init(quantizer_rng)
        return {"params": {"network": params, **quantizer_params}, **extras}

    def losses_and_metrics(
        params: Tree, extras: Extras, images: jax.Array, grid: jax.Array, weights: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean], jax.Array]:
        """(minimised, only logged, codes)."""
        quantized, losses = quantizer.quantize(params, extras, grid, places(grid, weights))
        error = squared_error(from_grid(params, quantized.vectors), images, weights)
        counts, _ = count_and_sum(grid, quantized.codes, quantizer.codes, places(grid, weights))
        images_seen = weights.sum()
        watched = {"error": error, "perplexity": Mean(perplexity(counts) * images_seen, images_seen)}
        scale = 1 / (pixel_variance(images, weights) if variance is None else variance)
        return {"reconstruction_loss": error.scaled(scale), **losses}, watched, quantized.codes

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        initialize_rng, accumulate_rng = jax.random.split(rng)
        images, weights = preprocess(batch), batch["example_weight"]
        grid = to_grid(params, images)
        counted = places(grid, weights)
        extras = {**extras, **quantizer.initialize_from_batch(extras, initialize_rng, grid, counted)}
        losses, watched, codes = losses_and_metrics(params, extras, images, grid, weights)
        return losses, Aux(
            watched, {**extras, **quantizer.accumulate(extras, accumulate_rng, grid, codes, counted)}
        )

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, **quantizer.after_update(params, extras)}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images = preprocess(batch)
        losses, watched, _ = losses_and_metrics(
            params, extras, images, to_grid(params, images), batch["example_weight"]
        )
        return losses | watched

    def encode(params: Tree, extras: Extras, images: jax.Array) -> jax.Array:
        grid = to_grid(params, images)
        return quantizer.quantize(params, extras, grid, jnp.ones(grid.shape[:-1], jnp.float32))[0].codes

    def decode(params: Tree, extras: Extras, codes: jax.Array) -> jax.Array:
        return jnp.clip(from_grid(params, quantizer.look_up(params, extras, codes)), 0, 1)

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        vectors = quantizer.look_up(params, extras, encode(params, extras, preprocess(batch)))
        return vectors.reshape(vectors.shape[0], -1)

    return QuantizedAutoencoder(
        quantizer.codes,
        grid_shape,
        Method(init, loss, evaluate, after_update),
        preprocess,
        encode,
        decode,
        represent,
    )
