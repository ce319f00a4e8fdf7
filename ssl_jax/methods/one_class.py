"""Anomaly detectors: autoencoders of normal images, which reconstruct others badly; several are trained side by side.

A detector is a plain autoencoder, whose error and code reveal an anomaly (arXiv:1812.02765), and a variational one,
whose likelihood bound does (An & Cho 2015). The likelihood is Gaussian with one learnt variance for all pixels
(arXiv:2006.13202), so that no scale has to be chosen. Detectors share no parameters: those of all detectors are
stacked along a first axis.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.losses.variational import elbo, gaussian_kl, gaussian_log_likelihood, sample_gaussian
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.transforms.images import plain_view

LEAST_LOG_SCALE = -math.log(510)
"""Half a level of an 8-bit pixel: a smaller error is an exact reconstruction."""
FIRST_LOG_SCALE = math.log(0.2)
"""About the deviation of pixels before training."""


class Detectors(NamedTuple):
    """Detectors on batches of a normal image for each: `image [batch, detectors, canvas, canvas, channels]` and so on.

    Metrics in training: `error`, the mean squared error per pixel, and `vae_loss`, minus the evidence lower bound in
    nats per pixel, both means over detectors. The evaluation takes batches of `images [batch, ...]` with `normal
    [batch, detectors]` and gives `normal_error`, `anomalous_error`, `normal_vae_loss` and `anomalous_vae_loss`.

    Attributes:
      method: the objective.
      shape: of an image as the detectors receive it.
      preprocess: `(batch) -> images` as the detectors receive them.
      examine: `(params of one detector, extras, batch) -> [batch, 2 + code_size]`: the plain autoencoder's error, minus
        the bound of the variational one at the mean of its code in nats, and the code.
      reconstruct: `(params of one detector, images) -> images`.
      score: `(params, extras, batch) -> {"reconstruction": error, "likelihood": minus the bound}`, `[batch,
        detectors]`, or `[batch]` of a single detector.
    """

    method: Method
    shape: tuple[int, int, int]
    preprocess: Callable[[Batch], jax.Array]
    examine: Represent
    reconstruct: Callable[[Tree, jax.Array], jax.Array]
    score: Callable[[Tree, Extras, Batch], Mapping[str, jax.Array]]


def detectors(
    count: int,
    network: AutoencoderConfig,
    *,
    code_size: int,
    size: int,
    channels: int,
    centre: float = 1.0,
) -> Detectors:
    """Detectors that share the shape of their networks.

    Args:
      count: how many.
      network: of each encoder and decoder.
      code_size: numbers in a code.
      size: height and width that images are brought to.
      channels: of an image.
      centre: share of the shorter side that is kept, in the middle.
    """
    shape = (size, size, channels)
    plain = Autoencoder(network, code_size, shape)
    variational = Autoencoder(
        network, 2 * code_size, shape
    )  # means and log-variances; it decodes half as many

    def preprocess(batch: Batch) -> jax.Array:
        return plain_view(batch["image"], batch["extent"], size, centre)

    def halves(module: nn.Module, images: jax.Array) -> jax.Array:
        return module.decode(module.encode(images)[:, :code_size])

    def init_one(rng: jax.Array) -> Tree:
        first, second = jax.random.split(rng)
        blank = jnp.zeros((1, *shape), jnp.float32)
        return {
            "plain": plain.init(first, blank)["params"],
            "variational": variational.init(second, blank, method=halves)["params"],
            "log_scale": jnp.float32(FIRST_LOG_SCALE),
        }

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        return {"params": jax.vmap(init_one)(jax.random.split(rng, count))}

    def reconstruct(params: Tree, images: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(plain.apply({"params": params["plain"]}, images))

    def errors(params: Tree, images: jax.Array) -> jax.Array:
        return _over_pixels(jnp.square(reconstruct(params, images) - images)).mean(-1)

    def bounds(params: Tree, images: jax.Array, rng: jax.Array | None) -> jax.Array:
        """[batch] evidence lower bounds in nats, at a draw of the code, or at its mean without a key."""
        weights = {"params": params["variational"]}
        mean, log_variance = jnp.split(variational.apply(weights, images, method="encode"), 2, -1)
        code = mean if rng is None else sample_gaussian(rng, mean, log_variance)
        reconstruction = jax.nn.sigmoid(variational.apply(weights, code, method="decode"))
        spread = jnp.full(reconstruction.shape, 2 * jnp.maximum(params["log_scale"], LEAST_LOG_SCALE))
        likelihood = _over_pixels(gaussian_log_likelihood(images, reconstruction, spread)).sum(-1)
        return elbo(likelihood, gaussian_kl(mean, log_variance))

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        def one(
            params: Tree, image: jax.Array, extent: jax.Array, rng: jax.Array
        ) -> tuple[jax.Array, jax.Array]:
            images = preprocess({"image": image, "extent": extent})
            return errors(params, images), -bounds(params, images, rng) / math.prod(shape)

        each = jax.vmap(one, in_axes=(0, 1, 1, 0))
        found = each(params, batch["image"], batch["extent"], jax.random.split(rng, count))
        weights = jnp.broadcast_to(batch["example_weight"][None], found[0].shape)
        losses = {
            name: Mean.of(values, weights) for name, values in zip(("error", "vae_loss"), found, strict=True)
        }
        return losses, Aux({}, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images, real = preprocess(batch), batch["example_weight"]

        def one(params: Tree) -> tuple[jax.Array, jax.Array]:
            return errors(params, images), -bounds(params, images, None) / math.prod(shape)

        found = jax.vmap(one)(params)
        metrics = {}
        for kind, normal in (("normal", batch["normal"]), ("anomalous", 1 - batch["normal"])):
            weights = normal.T * real[None]
            for name, values in zip(("error", "vae_loss"), found, strict=True):
                metrics[f"{kind}_{name}"] = Mean.of(values, weights)
        return metrics

    def examine(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        images = preprocess(batch)
        code = plain.apply({"params": params["plain"]}, images, method="encode")
        found = jnp.stack([errors(params, images), -bounds(params, images, None)], -1)
        return jnp.concatenate([found, code], -1)

    def score(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        found = jax.vmap(lambda own: examine(own, extras, batch), out_axes=1)(params)
        found = found[:, 0] if count == 1 else found
        return {"reconstruction": found[..., 0], "likelihood": found[..., 1]}

    return Detectors(Method(init, loss, evaluate), shape, preprocess, examine, reconstruct, score)


def _over_pixels(values: jax.Array) -> jax.Array:
    return values.reshape(values.shape[0], -1)
