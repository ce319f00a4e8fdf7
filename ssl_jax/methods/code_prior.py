"""The prior of a VQ-VAE: an autoregressive transformer over the codes of images (arXiv:1711.00937, 3.3).

The VQ-VAE is frozen. It travels in the extras: `vqvae`, its {"params": ..., **extras}, and `deviation`, how far pixels
are from their reconstructions.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder, DecodingState, causal_decoder
from ssl_jax.decoding.generate import generate
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.domains import Dtype, Fraction, Heads, Layers, Settings, Stddev, Width
from ssl_jax.errors import UserError
from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.discretized import level_log_likelihood
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree, split_variables
from ssl_jax.methods.quantized_autoencoder import QuantizedAutoencoder
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.models.transformer import Remat

LEVELS = 256
"""Of a pixel."""


@dataclasses.dataclass(frozen=True)
class PriorConfig(Settings):
    """The transformer; vocabulary and length are those of the codes."""

    layers: Layers = 2
    """Number of layers."""
    width: Width = 64
    """Of the residual stream; MLPs are four times as wide."""
    heads: Heads = 4
    """Of attention; they divide the width."""
    dropout: Fraction = 0.1
    """Rate on the embeddings and on the output of each block."""
    initializer_stddev: Stddev = 0.05
    """Standard deviation of embeddings and kernels at the start."""
    dtype: Dtype = "float32"
    """Of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass computes again to save memory: none, dots (all but the dense layers' outputs) or full."""

    def check_relations(self) -> None:
        if self.width % self.heads:
            raise UserError(f"prior: heads {self.heads} must divide width {self.width}.")


class CodePrior(NamedTuple):
    """On batches of `ssl_jax.data.images.batch_shapes`.

    Metrics: `code_loss`, nats per code given those before it in raster order. The evaluation adds `code_accuracy`, and
    `decoder_bits_per_dim`, the cost of the pixels once their codes are known.

    Attributes:
      codes: how many different codes there are.
      grid: shape of an image's codes: rows, columns, and codes at a place if there are several.
      places: how many codes an image has.
      begin: the token before the first code.
      dims: pixels times channels of an image.
      method: the objective.
      derive: of the metrics: `prior_bits_per_dim`, the cost of the codes, and `bits_per_dim`, the sum of both costs.
      decoder: how the prior generates codes.
      preprocess: `(batch) -> pixels`, int32 [batch, size, size, channels], 0 to 255.
      encode: `(params, extras, batch) -> codes`, int32 [batch, places].
      decode: `(extras, codes [batch, places]) -> images`, float32 [batch, size, size, channels] in [0, 1].
      sample: `(params, count, seed) -> codes`, int32 [count, places], drawn from the prior.
      error: `(params, extras, batch) -> [batch, 1]`, mean squared error per pixel of the reconstruction of 8-bit
        pixels.
      score: `(params, extras, batch) -> {name: [batch]}`: `code_log_likelihood`, of an image's code under the prior in
        nats, and `bits_per_dim` of code and pixels.
    """

    codes: int
    grid: tuple[int, ...]
    places: int
    begin: int
    dims: int
    method: Method
    derive: Callable[[Mapping[str, float]], dict[str, float]]
    decoder: Decoder
    preprocess: Callable[[Batch], jax.Array]
    encode: Callable[[Tree, Mapping[str, Tree], Batch], jax.Array]
    decode: Callable[[Mapping[str, Tree], jax.Array], jax.Array]
    sample: Callable[[Tree, int, int], np.ndarray]
    error: Callable[[Tree, Mapping[str, Tree], Batch], jax.Array]
    score: Callable[[Tree, Mapping[str, Tree], Batch], dict[str, jax.Array]]


def code_prior(
    config: PriorConfig,
    autoencoder: QuantizedAutoencoder,
    *,
    size: int,
    channels: int,
) -> CodePrior:
    """The method.

    Bits per dimension are those of the whole model, -log2 p(z) - log2 p(x | z) over pixels and channels: the image's
    codes z under the prior, and its 8-bit pixels x under a Gaussian around the reconstruction, of one deviation for all
    images (`level_log_likelihood`). Since an image has one code only, this is an upper bound of -log2 p(x).

    Args:
      config: of the transformer.
      autoencoder: the VQ-VAE.
      size: height and width of an image.
      channels: of an image.
    """
    codes, places, dims = autoencoder.codes, math.prod(autoencoder.grid), size * size * channels
    # `begin` is no code, and has an embedding of its own. One position is for the last code, which nothing follows.
    begin = codes
    model = Gpt2(
        Gpt2Config(
            vocab_size=codes + 1,
            positions=places + 1,
            layers=config.layers,
            width=config.width,
            heads=config.heads,
            mlp_width=4 * config.width,
            dropout=config.dropout,
            attention_dropout=config.dropout,
            initializer_stddev=config.initializer_stddev,
            position_stddev=config.initializer_stddev,
            dtype=config.dtype,
            remat=config.remat,
        )
    )

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        own_rng, autoencoder_rng = jax.random.split(rng)
        params = model.init(own_rng, jnp.zeros((1, places), jnp.int32))["params"]
        return {
            "params": params,
            "vqvae": autoencoder.method.init(autoencoder_rng, batch),
            "deviation": jnp.ones((), jnp.float32),
        }

    def frozen(extras: Extras) -> tuple[Tree, Mapping[str, Tree]]:
        """Parameters and extras of the VQ-VAE."""
        return split_variables(extras["vqvae"])

    def encode(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return autoencoder.encode(*frozen(extras), autoencoder.preprocess(batch)).reshape(-1, places)

    def decode(extras: Extras, found: jax.Array) -> jax.Array:
        return autoencoder.decode(*frozen(extras), found.reshape(-1, *autoencoder.grid))

    def predict(params: Tree, found: jax.Array, rng: jax.Array | None) -> jax.Array:
        """Logits [batch, places, codes] of every code given those before it."""
        tokens = jnp.pad(found[:, :-1], ((0, 0), (1, 0)), constant_values=begin)
        rngs = None if rng is None else {"dropout": rng}
        hidden, _ = model.apply({"params": params}, tokens, deterministic=rng is None, rngs=rngs)
        return model.apply({"params": params}, hidden, method="logits")[..., :codes]

    def weigh(batch: Batch) -> jax.Array:
        """[batch, places], the weight of an image at each of its places."""
        weights = batch["example_weight"]
        return jnp.broadcast_to(weights[:, None], (weights.shape[0], places))

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        found = encode(params, extras, batch)
        logits = predict(params, found, rng)
        return {"code_loss": cross_entropy(logits, found, weigh(batch))}, Aux({}, extras)

    def preprocess(batch: Batch) -> jax.Array:
        # Images resized on the way have values between two levels.
        return jnp.round(autoencoder.preprocess(batch) * (LEVELS - 1)).astype(jnp.int32)

    def pixel_bits(extras: Extras, found: jax.Array, batch: Batch) -> jax.Array:
        """[batch], bits per dimension of the pixels once the codes are known."""
        likelihood = level_log_likelihood(
            preprocess(batch), decode(extras, found), extras["deviation"], count=LEVELS
        )
        return -likelihood.reshape(found.shape[0], -1).mean(-1) / math.log(2)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        found = encode(params, extras, batch)
        logits = predict(params, found, None)
        return {
            "code_loss": cross_entropy(logits, found, weigh(batch)),
            "code_accuracy": accuracy(logits, found, weigh(batch)),
            "decoder_bits_per_dim": Mean.of(pixel_bits(extras, found, batch), batch["example_weight"]),
        }

    def score(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        found = encode(params, extras, batch)
        of_codes = jax.nn.log_softmax(predict(params, found, None).astype(jnp.float32))
        likelihood = jnp.take_along_axis(of_codes, found[..., None], -1).sum((1, 2))
        bits = pixel_bits(extras, found, batch) - likelihood / (dims * math.log(2))
        return {"code_log_likelihood": likelihood, "bits_per_dim": bits}

    def derive(metrics: Mapping[str, float]) -> dict[str, float]:
        prior = metrics["code_loss"] * places / (dims * math.log(2))
        return {"prior_bits_per_dim": prior, "bits_per_dim": prior + metrics["decoder_bits_per_dim"]}

    decoder = without_begin(model)

    def sample(params: Tree, count: int, seed: int) -> np.ndarray:
        prompts = np.full((count, 1), begin, np.int32)
        return generate(
            decoder,
            params,
            prompts,
            np.ones(count, np.int32),
            max_new_tokens=places,
            end=None,
            sampling=SamplingConfig(),
            key=jax.random.key(seed),
        ).tokens

    def error(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        reconstruction = decode(extras, encode(params, extras, batch))
        squares = jnp.square(reconstruction - preprocess(batch) / (LEVELS - 1))
        return squares.reshape(squares.shape[0], -1).mean(-1, keepdims=True)

    return CodePrior(
        codes,
        autoencoder.grid,
        places,
        begin,
        dims,
        Method(init, loss, evaluate),
        derive,
        decoder,
        preprocess,
        encode,
        decode,
        sample,
        error,
        score,
    )


@functools.cache
def without_begin(model: Gpt2) -> Decoder:
    """The model's decoder, which does not write the last token of the vocabulary: it only begins an image."""
    whole = causal_decoder(model)
    codes = model.config.vocab_size - 1

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, DecodingState]:
        logits, state = whole.start(params, prompts, lengths, room)
        return logits[..., :codes], state

    def extend(params: Tree, tokens: jax.Array, state: DecodingState) -> tuple[jax.Array, DecodingState]:
        logits, state = whole.extend(params, tokens, state)
        return logits[..., :codes], state

    return whole._replace(start=start, extend=extend)
