"""Autoencoders with a bottleneck, plain and denoising: an image is reconstructed from its code.

Several are trained side by side on the same images, by the sum of their losses. Each is initialised and updated as if
it were alone, so that they differ in the size of the code, or in the noise, and in nothing else. The optimiser must
treat parameters one by one or layer by layer; a clipped global norm would tie the autoencoders together.
"""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.reconstruction import pixel_cross_entropy, squared_error
from ssl_jax.method import Aux, Batch, Evaluate, Extras, Mean, Method, Represent, Tree
from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.transforms.corruption import Corruption, corrupt
from ssl_jax.transforms.filters import mean_filter, median_filter
from ssl_jax.transforms.images import plain_view

Objective = Literal["squared_error", "cross_entropy"]
Reconstruct = Callable[[Tree, jax.Array], jax.Array]
"""`(params, images) -> images`, float32 [batch, size, size, channels] in [0, 1]."""


class Member(NamedTuple):
    """One autoencoder.

    Attributes:
      code_size: numbers in its code.
      corruption: the noise that it learns to remove; None for none.
    """

    code_size: int
    corruption: Corruption | None = None


class Family(NamedTuple):
    """Autoencoders on batches of `ssl_jax.data.images.batch_shapes`.

    The parameters of each autoencoder are stored under its name. Metrics: `NAME_error`, the mean squared error per
    pixel in [0, 1] of the reconstruction of the image, or of the noisy image; `NAME_cross_entropy` where that is
    minimised.

    Attributes:
      method: the objective.
      shape: of an image as the autoencoders receive it, `(height, width, channels)`.
      preprocess: `(batch) -> images` as the autoencoders receive them.
      encode: by name, `(params, extras, batch) -> [batch, code_size]` of the images without noise.
      reconstruct: by name, `(params, images) -> images`.
    """

    method: Method
    shape: tuple[int, int, int]
    preprocess: Callable[[Batch], jax.Array]
    encode: Mapping[str, Represent]
    reconstruct: Mapping[str, Reconstruct]


def autoencoders(
    members: Mapping[str, Member],
    network: AutoencoderConfig,
    *,
    size: int,
    channels: int,
    centre: float = 1.0,
    objective: Objective = "squared_error",
) -> Family:
    """The family of all members, which share the shape of the network.

    Args:
      members: by name.
      network: of each encoder and decoder.
      size: height and width that images are brought to.
      channels: of an image.
      centre: share of the shorter side that is kept, in the middle.
      objective: what is minimised.
    """
    shape = (size, size, channels)
    networks = {name: Autoencoder(network, member.code_size, shape) for name, member in members.items()}

    def preprocess(batch: Batch) -> jax.Array:
        return plain_view(batch["image"], batch["extent"], size, centre)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        blank = jnp.zeros((1, *shape), jnp.float32)
        return {"params": {name: made.init(rng, blank)["params"] for name, made in networks.items()}}

    def losses_and_metrics(
        params: Tree, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged)."""
        images, weights = preprocess(batch), batch["example_weight"]
        errors, entropies = {}, {}
        for name, member in members.items():
            shown = corrupt(rng, images, member.corruption) if member.corruption else images
            logits = networks[name].apply({"params": params[name]}, shown)
            errors[f"{name}_error"] = squared_error(jax.nn.sigmoid(logits), images, weights)
            entropies[f"{name}_cross_entropy"] = pixel_cross_entropy(logits, images, weights)
        return (errors, {}) if objective == "squared_error" else (entropies, errors)

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        losses, metrics = losses_and_metrics(params, batch, rng)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = losses_and_metrics(params, batch, rng)
        return losses | metrics

    def encoder(name: str) -> Represent:
        def encode(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
            return networks[name].apply({"params": params[name]}, preprocess(batch), method="encode")

        return encode

    def reconstructor(name: str) -> Reconstruct:
        return lambda params, images: jax.nn.sigmoid(networks[name].apply({"params": params[name]}, images))

    return Family(
        Method(init, loss, evaluate),
        shape,
        preprocess,
        {name: encoder(name) for name in members},
        {name: reconstructor(name) for name in members},
    )


def denoising_evaluation(family: Family, noises: Mapping[str, Corruption]) -> Evaluate:
    """An evaluation that applies every noise to every autoencoder, to filters, and to nothing at all.

    Metrics: those of the family, and `WHO_on_NOISE_error`, the mean squared error per pixel, where WHO is an
    autoencoder, "nothing", "median" or "mean" (filters of 3 x 3 pixels).

    Args:
      family: the autoencoders.
      noises: by name.
    """
    reconstructions: dict[str, Reconstruct] = {
        "nothing": lambda params, images: images,
        "median": lambda params, images: median_filter(images),
        "mean": lambda params, images: mean_filter(images),
        **family.reconstruct,
    }

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images, weights = family.preprocess(batch), batch["example_weight"]
        found = dict(family.method.evaluate(params, extras, batch, rng))
        for noise, corruption in noises.items():
            noisy = corrupt(rng, images, corruption)
            for name, reconstruct in reconstructions.items():
                reconstruction = jnp.clip(reconstruct(params, noisy), 0, 1)
                found[f"{name}_on_{noise}_error"] = squared_error(reconstruction, images, weights)
        return found

    return evaluate
