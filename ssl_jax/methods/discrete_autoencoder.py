"""Autoencoders whose code is a real vector, bits, or one of a few classes, trained side by side on the same images.

- real: the encoder's output.
- binary: each bit is drawn with the probability that the encoder gives it, and passes the gradient of the probability
  (arXiv:1308.3432); a trained encoder gives the likelier value.
- one_hot: a class is drawn by Gumbel-softmax (arXiv:1611.01144), one-hot on the way to the decoder, with the gradient
  of the soft draw, whose temperature falls from step to step; a trained encoder gives the likeliest class.

A balance loss keeps all classes, and both values of each bit, in use: it rewards probabilities that are even over a
batch (regularised information maximisation, Krause, Perona & Gomes 2010).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.domains import Settings, Temperature
from ssl_jax.errors import UserError
from ssl_jax.losses.quantization import entropy, perplexity
from ssl_jax.losses.reconstruction import pixel_cross_entropy, squared_error
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.autoencoder import Family, Objective, Reconstruct
from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.models.quantization.stochastic import bernoulli_bits, gumbel_softmax
from ssl_jax.transforms.images import plain_view


@dataclass(frozen=True)
class GumbelConfig(Settings):
    """The draws of a one-hot code."""

    first_temperature: Temperature = 1.0
    """Of the first step; draws are soft, and their gradient is steady."""
    last_temperature: Temperature = 0.5
    """Of the last step, reached by equal factors; the gradient is nearer to that of the draw itself, and noisier."""

    def check_relations(self) -> None:
        if self.last_temperature > self.first_temperature:
            raise UserError(
                f"gumbel.last_temperature {self.last_temperature} must be at most "
                f"gumbel.first_temperature {self.first_temperature}."
            )


def temperature_at(step: jax.Array | int, config: GumbelConfig, steps: int) -> jax.Array:
    """Of step `step`, which counts from 1, of so many: geometric from the first temperature to the last.

    Example:
      >>> config = GumbelConfig(first_temperature=4.0, last_temperature=1.0)
      >>> print([float(temperature_at(step, config, 3)) for step in (1, 2, 3, 9)])
      [4.0, 2.0, 1.0, 1.0]
    """
    done = jnp.clip((jnp.asarray(step, jnp.float32) - 1) / max(steps - 1, 1), 0, 1)
    return config.first_temperature * (config.last_temperature / config.first_temperature) ** done


class DiscreteFamily(NamedTuple):
    """A `Family` of the kinds of code that there are, by name (real, binary, one_hot), and what their codes come from.

    Metrics: those of the family, `KIND_error`; `one_hot_perplexity`, how many classes a batch uses, if all were used
    equally. Codes are 0 and 1 where they are not real. The temperature is in the extras as `temperature`.

    Attributes:
      family: the autoencoders.
      logits: by kind, `(params, extras, batch) -> [batch, size]`, before bits or classes are chosen.
      decode: by kind, `(params, code) -> images` in [0, 1].
    """

    family: Family
    logits: Mapping[str, Represent]
    decode: Mapping[str, Reconstruct]


def discrete_autoencoders(
    sizes: Mapping[str, int],
    network: AutoencoderConfig,
    *,
    size: int,
    channels: int,
    steps: int,
    gumbel: GumbelConfig,
    balance: float,
    centre: float = 1.0,
    objective: Objective = "squared_error",
) -> DiscreteFamily:
    """An autoencoder for each kind of code, all with the same shape of network, trained independently side by side.

    Args:
      sizes: by kind, the numbers, bits or classes of the code.
      network: of each encoder and decoder.
      size: height and width that images are brought to.
      channels: of an image.
      steps: over which the temperature falls.
      gumbel: temperatures of the one-hot code.
      balance: weight of the balance loss: the entropy, in nats, by which the mean probabilities of a batch fall short
        of an even use of all classes, and of both values of a bit.
      centre: share of the shorter side that is kept, in the middle.
      objective: what is minimised.
    """
    shape = (size, size, channels)
    networks = {kind: Autoencoder(network, width, shape) for kind, width in sizes.items()}

    def preprocess(batch: Batch) -> jax.Array:
        return plain_view(batch["image"], batch["extent"], size, centre)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        blank = jnp.zeros((1, *shape), jnp.float32)
        params = {kind: made.init(rng, blank)["params"] for kind, made in networks.items()}
        return {"params": params, "temperature": temperature_at(jnp.int32(1), gumbel, steps)}

    def logits_of(kind: str, params: Tree, images: jax.Array) -> jax.Array:
        return networks[kind].apply({"params": params[kind]}, images, method="encode")

    def pixels_of(kind: str, params: Tree, code: jax.Array) -> jax.Array:
        return networks[kind].apply({"params": params[kind]}, code, method="decode")

    def losses_and_metrics(
        params: Tree, images: jax.Array, codes: Mapping[str, jax.Array], weights: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged) of codes."""
        errors, entropies, use = {}, {}, {}
        for kind, code in codes.items():
            pixels = pixels_of(kind, params, code)
            errors[f"{kind}_error"] = squared_error(jax.nn.sigmoid(pixels), images, weights)
            entropies[f"{kind}_cross_entropy"] = pixel_cross_entropy(pixels, images, weights)
            if kind == "one_hot":
                total = weights.sum()
                use["one_hot_perplexity"] = Mean(perplexity((code * weights[:, None]).sum(0)) * total, total)
        return (errors, use) if objective == "squared_error" else (entropies, errors | use)

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        images, weights = preprocess(batch), batch["example_weight"]
        codes, uneven = {}, {}
        for kind in sizes:
            logits = logits_of(kind, params, images)
            # One key for all: each is drawn as if it were alone.
            match kind:
                case "real":
                    codes[kind] = logits
                case "binary":
                    codes[kind] = bernoulli_bits(logits, rng)
                    uneven[kind] = jax.nn.sigmoid(jnp.stack([-logits, logits], -1))
                case "one_hot":
                    codes[kind] = gumbel_softmax(rng, logits, extras["temperature"], hard=True)
                    uneven[kind] = jax.nn.softmax(logits, -1)
        losses, watched = losses_and_metrics(params, images, codes, weights)
        for kind, probabilities in uneven.items():
            losses[f"{kind}_balance_loss"] = imbalance(probabilities, weights).scaled(balance)
        return losses, Aux(watched, extras)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "temperature": temperature_at(step + 1, gumbel, steps)}

    def code_of(kind: str, params: Tree, images: jax.Array) -> jax.Array:
        logits = logits_of(kind, params, images)
        match kind:
            case "binary":
                return bernoulli_bits(logits)
            case "one_hot":
                return jax.nn.one_hot(jnp.argmax(logits, -1), sizes[kind], dtype=jnp.float32)
        return logits

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images = preprocess(batch)
        codes = {kind: code_of(kind, params, images) for kind in sizes}
        losses, watched = losses_and_metrics(params, images, codes, batch["example_weight"])
        return losses | watched

    def decoder(kind: str) -> Reconstruct:
        return lambda params, code: jax.nn.sigmoid(pixels_of(kind, params, code))

    decode = {kind: decoder(kind) for kind in sizes}
    family = Family(
        Method(init, loss, evaluate, after_update),
        shape,
        preprocess,
        encode={
            kind: lambda params, extras, batch, kind=kind: code_of(kind, params, preprocess(batch))
            for kind in sizes
        },
        reconstruct={
            kind: lambda params, images, kind=kind: decode[kind](params, code_of(kind, params, images))
            for kind in sizes
        },
    )
    logits = {
        kind: lambda params, extras, batch, kind=kind: logits_of(kind, params, preprocess(batch))
        for kind in sizes
    }
    return DiscreteFamily(family, logits, decode)


def imbalance(probabilities: jax.Array, weights: jax.Array) -> Mean:
    """log K minus the entropy of the mean probabilities of a batch, nats: 0 if all K outcomes are likely alike.

    Args:
      probabilities: [batch, ..., K]; the mean over the axes between. weights: [batch], 0 for what does not count.

    Example:
      >>> total, weight = imbalance(jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.ones(2))
      >>> print(round(float(total / weight), 4))
      0.0
    """
    total = weights.sum()
    mean = jnp.tensordot(weights, probabilities, 1) / jnp.where(total > 0, total, 1)
    return Mean((float(np.log(mean.shape[-1])) - entropy(mean)).mean() * total, total)
