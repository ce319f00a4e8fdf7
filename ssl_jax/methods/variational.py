"""Variational autoencoders (Kingma & Welling 2014, arXiv:1312.6114) as a method, and the bounds of their likelihood.

A likelihood is one of data of its own kind, and the grey pixels of an image are neither coins nor real numbers:

- bernoulli: each pixel is drawn, white with the probability that is its grey, anew at every step, as in
  arXiv:1509.00519. Evaluation draws once, by its key. Nats and bits are of these black and white images, to be compared
  with what is published for MNIST binarised at random. Greys taken for probabilities, without a draw, would train as
  well, but what they give is no likelihood of anything.
- gaussian: 8-bit pixels with noise of one level's width ("dequantisation", arXiv:1511.01844), in [0, 1]; their mean is
  a logistic function, as in the paper's appendix C.2; one learned variance for all pixels (arXiv:2006.13202), since one
  for each pixel is unbounded where pixels never change. Bits are a bound of those of the 8-bit images.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, NonNegativeInt, Settings
from ssl_jax.losses.reconstruction import squared_error
from ssl_jax.losses.variational import (
    bernoulli_log_likelihood,
    bits_per_dim,
    elbo,
    gaussian_kl,
    gaussian_log_likelihood,
    importance_weighted_bound,
    kl_weight,
    log_importance_weights,
    negative_elbo,
    sample_gaussian,
)
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.transforms.images import plain_view

Likelihood = Literal["bernoulli", "gaussian"]

FIRST_LOG_VARIANCE = -3.0
"""Of the Gaussian likelihood before training: about that of images in [0, 1]."""

LEVELS = {"bernoulli": 1, "gaussian": 256}
"""By which the data was divided before its density was taken; see `bits_per_dim`."""


@dataclass(frozen=True)
class KlConfig(Settings):
    """The divergence of the code from its prior, as it is minimised. Metrics are of the plain bound in any case."""

    beta: NonNegativeFloat = 1.0
    """Its weight: 1 for the ELBO, more for a code nearer to the prior (beta-VAE, Higgins et al. 2017)."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which its weight rises from 0 (arXiv:1602.02282)."""
    free_nats: NonNegativeFloat = 0.0
    """Nats of each number of the code that cost nothing ("free bits", arXiv:1606.04934)."""


class Variational(NamedTuple):
    """On batches of `ssl_jax.data.images.batch_shapes`; the weight of the divergence is in the extras as `kl_weight`.

    Metrics: the losses, `reconstruction_loss` and `kl_loss`, in nats per image; `negative_elbo` and `kl`, in nats per
    image, without weights and free nats; `bits_per_dim` of the bound; `error`, the mean squared error per pixel in [0,
    1] of the reconstruction from the most likely code.

    Attributes:
      method: the objective.
      shape: of an image as the autoencoder receives it, `(height, width, channels)`.
      preprocess: `(batch) -> images`, float32 [batch, *shape] in [0, 1].
      draw: `(rng, images) -> data`, the data that the likelihood is of.
      encode: the mean of the code, [batch, code_size].
      posterior: `(params, data) -> (mean, log_variance)`, each [batch, code_size].
      decode: `(params, code) -> images`, the mean of the pixels.
      bounds: `(params, batch, rng, samples) -> [batch, 2]`, nats: the evidence lower bound, and the importance-weighted
        bound (arXiv:1509.00519), of the same draws.
      score: `(samples, seed) -> ((params, extras, batch) -> {name: [batch]})`: the bounds of each image by itself, from
        its `image_key`: `elbo` and `importance_weighted_bound` in nats, and the latter as `bits_per_dim`.
    """

    method: Method
    shape: tuple[int, int, int]
    preprocess: Callable[[Batch], jax.Array]
    draw: Callable[[jax.Array, jax.Array], jax.Array]
    encode: Represent
    posterior: Callable[[Tree, jax.Array], tuple[jax.Array, jax.Array]]
    decode: Callable[[Tree, jax.Array], jax.Array]
    bounds: Callable[[Tree, Batch, jax.Array, int], jax.Array]
    score: Callable[[int, int], Callable[[Tree, Extras, Batch], dict[str, jax.Array]]]


def draw_data(rng: jax.Array, images: jax.Array, likelihood: Likelihood) -> jax.Array:
    """The data that a likelihood is of: black and white pixels, or continuous ones in [0, 1]; float32."""
    if likelihood == "bernoulli":
        return jax.random.bernoulli(rng, images).astype(jnp.float32)
    # Rounded, as an image that was resized is no longer of 8 bits.
    return (jnp.round(images * 255) + jax.random.uniform(rng, images.shape, jnp.float32)) / 256


def image_key(seed: int, image: jax.Array) -> jax.Array:
    """A key that the pixels of an image decide: the same wherever it stands, another one for another image.

    With one key for all images, what is drawn of a pixel would have the same error in all of them, which a mean over
    images would keep.

    Args:
      seed: of all keys.
      image: uint8, of any shape.
    """
    factors = jax.random.bits(jax.random.key(0), image.shape, jnp.uint32) | 1
    return jax.random.fold_in(
        jax.random.key(seed), (image.astype(jnp.uint32) * factors).sum(dtype=jnp.uint32)
    )


def variational_autoencoder(
    network: AutoencoderConfig,
    *,
    code_size: int,
    size: int,
    channels: int,
    centre: float = 1.0,
    likelihood: Likelihood = "bernoulli",
    kl: KlConfig,
) -> Variational:
    """The method.

    Args:
      network: of the encoder, which gives a mean and a log-variance for each number of the code, and of the decoder.
      code_size: numbers in a code.
      size: height and width that images are brought to.
      channels: of an image.
      centre: share of the shorter side that is kept, in the middle.
      likelihood: of the pixels.
      kl: weight of the divergence.
    """
    shape = (size, size, channels)
    dims = size * size * channels
    made = Autoencoder(network, 2 * code_size, shape)

    def preprocess(batch: Batch) -> jax.Array:
        return plain_view(batch["image"], batch["extent"], size, centre)

    def draw(rng: jax.Array, images: jax.Array) -> jax.Array:
        return draw_data(rng, images, likelihood)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        def both(network: nn.Module, images: jax.Array) -> jax.Array:
            return network.decode(network.encode(images)[:, :code_size])

        params = {"network": made.init(rng, jnp.zeros((1, *shape), jnp.float32), method=both)["params"]}
        if likelihood == "gaussian":
            params["log_variance"] = {"bias": jnp.float32(FIRST_LOG_VARIANCE)}
        return {"params": params, "kl_weight": weight_of(jnp.int32(1))}

    def weight_of(step: jax.Array) -> jax.Array:
        return kl_weight(step, beta=kl.beta, warmup_steps=kl.warmup_steps)

    def posterior(params: Tree, data: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = made.apply({"params": params["network"]}, data, method="encode")
        return found[:, :code_size], found[:, code_size:]

    def logits_of(params: Tree, code: jax.Array) -> jax.Array:
        return made.apply({"params": params["network"]}, code, method="decode")

    def decode(params: Tree, code: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(logits_of(params, code))

    def log_likelihood(params: Tree, data: jax.Array, code: jax.Array) -> jax.Array:
        """[batch], nats."""
        logits = logits_of(params, code)
        if likelihood == "bernoulli":
            pixels = bernoulli_log_likelihood(data, logits)
        else:
            log_variance = jnp.full(data.shape, params["log_variance"]["bias"])
            pixels = gaussian_log_likelihood(data, jax.nn.sigmoid(logits), log_variance)
        return pixels.reshape(pixels.shape[0], -1).sum(-1)

    def losses_and_metrics(
        params: Tree, extras: Extras, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean], jax.Array]:
        """(minimised, only logged, mean of the code)."""
        data_rng, code_rng = jax.random.split(rng)
        data, weights = draw(data_rng, preprocess(batch)), batch["example_weight"]
        mean, log_variance = posterior(params, data)
        likelihoods = log_likelihood(params, data, sample_gaussian(code_rng, mean, log_variance))
        divergence = gaussian_kl(mean, log_variance)
        losses = negative_elbo(
            likelihoods, divergence, weights, beta=extras["kl_weight"], free_nats=kl.free_nats
        )
        negative = -elbo(likelihoods, divergence)
        watched = {
            "negative_elbo": negative,
            "kl": divergence.sum(-1),
            "bits_per_dim": bits_per_dim(negative, dims, levels=LEVELS[likelihood]),
        }
        return losses, {name: Mean.of(value, weights) for name, value in watched.items()}, mean

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        losses, watched, _ = losses_and_metrics(params, extras, batch, rng)
        return losses, Aux(watched, extras)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "kl_weight": weight_of(step + 1)}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, watched, mean = losses_and_metrics(params, extras, batch, rng)
        error = squared_error(decode(params, mean), preprocess(batch), batch["example_weight"])
        return losses | watched | {"error": error}

    def encode(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        # Of the greys themselves, which are the mean of what is drawn: a frozen encoder has no randomness.
        return posterior(params, preprocess(batch))[0]

    def bounds(params: Tree, batch: Batch, rng: jax.Array, samples: int) -> jax.Array:
        data_rng, codes_rng = jax.random.split(rng)
        data = draw(data_rng, preprocess(batch))
        mean, log_variance = posterior(params, data)

        def one(rng: jax.Array) -> tuple[jax.Array, jax.Array]:
            code = sample_gaussian(rng, mean, log_variance)
            found = log_likelihood(params, data, code)
            return found, log_importance_weights(found[None], code[None], mean, log_variance)[0]

        # One after another: all codes of a batch at once would be as large as so many batches.
        likelihoods, log_weights = jax.lax.map(one, jax.random.split(codes_rng, samples))
        plain = elbo(likelihoods.mean(0), gaussian_kl(mean, log_variance))
        return jnp.stack([plain, importance_weighted_bound(log_weights)], -1)

    def score(samples: int, seed: int) -> Callable[[Tree, Extras, Batch], dict[str, jax.Array]]:
        def scores(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
            def one(image: jax.Array, extent: jax.Array) -> jax.Array:
                alone = {"image": image[None], "extent": extent[None]}
                return bounds(params, alone, image_key(seed, image), samples)[0]

            plain, weighted = jnp.moveaxis(jax.vmap(one)(batch["image"], batch["extent"]), -1, 0)
            bits = bits_per_dim(-weighted, dims, levels=LEVELS[likelihood])
            return {"elbo": plain, "importance_weighted_bound": weighted, "bits_per_dim": bits}

        return scores

    return Variational(
        Method(init, loss, evaluate, after_update),
        shape,
        preprocess,
        draw,
        encode,
        posterior,
        decode,
        bounds,
        score,
    )
