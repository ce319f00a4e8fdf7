"""VQ-VAE on speech: an utterance becomes a sequence of discrete units, and its log-mel spectrum is decoded from them
and its speaker (arXiv:1901.08810; arXiv:1711.00937, section 4.4)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.losses.quantization import perplexity
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.quantization import Quantizer
from ssl_jax.methods.speech import (
    SpeechMethod,
    VectorMetrics,
    denormalised,
    features_of,
    initial_statistics,
    pooled,
)
from ssl_jax.models.quantization.codebook import count_and_sum
from ssl_jax.models.unit_autoencoder import UnitDecoder, UnitEncoder, UnitNetworkConfig
from ssl_jax.transforms.speech_features import FeatureConfig, frames_of
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment

UNKNOWN = 0
"""Row of the table of speakers for one that is unknown or was never trained on."""
UNNAMED_SHARE = 0.1
"""Share of the training utterances whose speaker the decoder is not told, so that it can do without."""


class Spectra(NamedTuple):
    """Log-mel spectra `[batch, frames, mels]`, not normalised.

    Attributes:
      original: of the utterance.
      reconstruction: decoded from its units.
      frames: int32 `[batch]`, the true frames.
    """

    original: jax.Array
    reconstruction: jax.Array
    frames: jax.Array


class SpeechUnits(NamedTuple):
    """The method, and what a report shows of it.

    Attributes:
      speech: the method. Its layers are `units`, the vectors of the units, and `encoder`, what is quantised.
      codes: number of different units.
      units: `(params, extras, batch) -> int32 [batch, units]`, -1 where there is none.
      vectors: `(params, extras, batch) -> float32 [batch, units, width]`, what is quantised.
      spectra: `(params, extras, batch) -> Spectra`, decoded in the voice of the batch's `speaker`.
      speakers: whether the decoder is told the speaker.
    """

    speech: SpeechMethod
    codes: int
    units: Represent
    vectors: Represent
    spectra: Callable[[Tree, Extras, Batch], Spectra]
    speakers: bool


def jitter(rng: jax.Array, x: jax.Array, lengths: jax.Array, probability: float) -> jax.Array:
    """Each unit replaced by one of its two neighbours with a probability (arXiv:1901.08810, section III-C).

    Args:
      rng: a key.
      x: `[batch, units, width]`.
      lengths: int `[batch]`, the true units; none takes the place of a true one but a true one.
      probability: of a replacement, half of it by each neighbour.
    """
    if not probability:
        return x
    places = jnp.arange(x.shape[1], dtype=jnp.int32)[None]
    drawn = jax.random.uniform(rng, x.shape[:2], jnp.float32)
    step = jnp.int32(drawn > 1 - probability / 2) - jnp.int32(drawn < probability / 2)
    chosen = jnp.clip(places + step, 0, jnp.maximum(lengths[:, None], 1) - 1)
    return jnp.take_along_axis(x, chosen[..., None], 1)


def unit_discovery(
    network: UnitNetworkConfig,
    quantizer: Quantizer,
    features: FeatureConfig,
    augmentation: WaveformAugmentation,
    *,
    rate: int,
    speakers: int,
    jitter_probability: float,
    vector_metrics: VectorMetrics,
) -> SpeechUnits:
    """The method. Training batches have the `speaker` of each utterance.

    `reconstruction_loss` is the squared error of the log-mel spectrum, each filter divided by its standard deviation,
    over true frames alone. Metrics: `code_perplexity` of the units of a batch, and those of the mean vector of the
    units of each utterance.

    Args:
      network: encoder and decoder.
      quantizer: of the encoder's vectors.
      features: that the encoder is given. The decoder makes log-mel spectra of as many filters, whatever they are.
      augmentation: of the training waveforms.
      rate: samples per second.
      speakers: most speakers that the decoder is told apart; 0 for a decoder that is told none.
      jitter_probability: see `jitter`.
      vector_metrics: of the utterances.
    """
    stride, target = network.stride, FeatureConfig(mels=features.mels)
    encoder = UnitEncoder(network, quantizer.width)
    decoder = UnitDecoder(network, target.width, speakers + 1 if speakers else 0)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        encoder_rng, decoder_rng, quantizer_rng = jax.random.split(rng, 3)
        frames, speaker = jnp.full(1, stride, jnp.int32), jnp.zeros(1, jnp.int32)
        blank = jnp.zeros((1, stride, features.width), jnp.float32)
        vector = jnp.zeros((1, 1, quantizer.width), jnp.float32)
        params, extras = quantizer.init(quantizer_rng)
        return {
            "params": {
                "encoder": encoder.init(encoder_rng, blank, frames)["params"],
                "decoder": decoder.init(decoder_rng, vector, speaker, frames)["params"],
                **params,
            },
            "statistics": initial_statistics(features),
            "target_statistics": initial_statistics(target),
            # Utterances of each speaker so far: one who is heard in the evaluation alone is unknown.
            "heard": jnp.zeros(speakers + 1, jnp.float32),
            **extras,
        }

    def seen(
        extras: Extras, waveform: jax.Array, samples: jax.Array, learn: bool = False
    ) -> tuple[jax.Array, jax.Array, jax.Array, Extras]:
        """(input of the encoder, target of the decoder, true frames of each utterance, extras)."""
        found = features_of(features, rate, waveform, samples, extras, learn=learn)
        other = {"statistics": extras["target_statistics"]}
        wanted = features_of(target, rate, waveform, samples, other, learn=learn)
        extras = {**found.extras, "target_statistics": wanted.extras["statistics"]}
        missing = ((0, 0), (0, -found.features.shape[1] % stride), (0, 0))
        count = frames_of(samples, rate)
        return jnp.pad(found.features, missing), jnp.pad(wanted.features, missing), count, extras

    def row_of(extras: Extras, speaker: jax.Array) -> jax.Array:
        """The row of the table of speakers; UNKNOWN where the label is -1, too large, or was never trained on."""
        row = jnp.where((speaker >= 0) & (speaker < speakers), speaker + 1, UNKNOWN)
        return jnp.where(extras["heard"][row] > 0, row, UNKNOWN)

    def places(count: jax.Array, length: int) -> jax.Array:
        return jnp.float32(jnp.arange(length, dtype=jnp.int32)[None] < count[:, None])

    def vectors_of(
        params: Tree, extras: Extras, batch: Batch
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """(vectors, weights of the units, target, true frames)."""
        inputs, wanted, count, _ = seen(extras, batch["waveform"], batch["samples"])
        x = encoder.apply({"params": params["encoder"]}, inputs, count)
        return x, places(network.lengths(count)[-1], x.shape[1]), wanted, count

    def terms(
        params: Tree,
        extras: Extras,
        x: jax.Array,
        wanted: jax.Array,
        count: jax.Array,
        row: jax.Array,
        weight: jax.Array,
        rng: jax.Array | None,
    ) -> tuple[dict[str, Mean], dict[str, Mean], jax.Array]:
        """(minimised, only logged, codes)."""
        lengths = network.lengths(count)[-1]
        true = places(lengths, x.shape[1]) * weight[:, None]
        quantized, losses = quantizer.quantize(params, extras, x, true)
        vectors = quantized.vectors
        if rng is not None:
            vectors = jitter(rng, vectors, lengths, jitter_probability)
        found = decoder.apply({"params": params["decoder"]}, vectors, row, count)
        error = jnp.square(found - wanted).mean(-1)
        counts, _ = count_and_sum(x, quantized.codes, quantizer.codes, true)
        state = pooled(jax.lax.stop_gradient(quantized.vectors), true > 0, 1)
        total = weight.sum()
        watched = {
            "code_perplexity": Mean(perplexity(counts) * total, total),
            **vector_metrics(state, weight),
        }
        frames = places(count, wanted.shape[1]) * weight[:, None]
        return {"reconstruction_loss": Mean.of(error, frames), **losses}, watched, quantized.codes

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        augment_rng, unnamed_rng, jitter_rng, initialize_rng, accumulate_rng = jax.random.split(rng, 5)
        weight, speaker = batch["example_weight"], batch["speaker"]
        waveform, samples = augment(augment_rng, batch["waveform"], batch["samples"], augmentation, rate)
        inputs, wanted, count, extras = seen(extras, waveform, samples, learn=True)
        named = jax.nn.one_hot(speaker + 1, speakers + 1, dtype=jnp.float32)
        extras = {**extras, "heard": extras["heard"] + (named * weight[:, None]).sum(0)}
        unnamed = jax.random.uniform(unnamed_rng, speaker.shape, jnp.float32) < UNNAMED_SHARE
        row = jnp.where(unnamed, UNKNOWN, row_of(extras, speaker))
        x = encoder.apply({"params": params["encoder"]}, inputs, count)
        true = places(network.lengths(count)[-1], x.shape[1]) * weight[:, None]
        extras = {**extras, **quantizer.initialize_from_batch(extras, initialize_rng, x, true)}
        losses, watched, codes = terms(params, extras, x, wanted, count, row, weight, jitter_rng)
        return losses, Aux(
            watched, {**extras, **quantizer.accumulate(extras, accumulate_rng, x, codes, true)}
        )

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, **quantizer.after_update(params, extras)}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        x, _, wanted, count = vectors_of(params, extras, batch)
        row = row_of(extras, batch["speaker"])
        losses, watched, _ = terms(params, extras, x, wanted, count, row, batch["example_weight"], None)
        return losses | watched

    def layers(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        x, true, _, _ = vectors_of(params, extras, batch)
        return {"units": quantizer.quantize(params, extras, x, true)[0].vectors, "encoder": x}

    def units(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        x, true, _, _ = vectors_of(params, extras, batch)
        return jnp.where(true > 0, quantizer.quantize(params, extras, x, true)[0].codes, -1)

    def spectra(params: Tree, extras: Extras, batch: Batch) -> Spectra:
        x, true, wanted, count = vectors_of(params, extras, batch)
        vectors = quantizer.quantize(params, extras, x, true)[0].vectors
        found = decoder.apply({"params": params["decoder"]}, vectors, row_of(extras, batch["speaker"]), count)
        original, reconstruction = (denormalised(y, extras["target_statistics"]) for y in (wanted, found))
        return Spectra(original, reconstruction, count)

    return SpeechUnits(
        SpeechMethod(Method(init, loss, evaluate, after_update), layers, stride),
        quantizer.codes,
        units,
        lambda params, extras, batch: vectors_of(params, extras, batch)[0],
        spectra,
        speakers > 0,
    )
