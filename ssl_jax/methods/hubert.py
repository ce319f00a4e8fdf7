"""HuBERT: the unit of each masked frame is predicted (arXiv:2106.07447).

A unit is the number of the nearest k-means centre, of MFCCs (first iteration) or of the features of a layer of a frozen
model (second iteration). Units are computed on the device from the waveform that the model is given, without its mask,
so nothing is written before the run. The centres are found at the first step, from its whole batch, and stay.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.domains import CodebookSize, Layers, NonNegativeFloat, PositiveInt, Settings, Temperature
from ssl_jax.losses.speech import code_diversity, feature_penalty, unit_logits, unit_prediction
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.speech import SpeechMethod, VectorMetrics, pooled
from ssl_jax.methods.wav2vec2 import frame_stride, preparation, wav_layers
from ssl_jax.models.quantization.codebook import nearest
from ssl_jax.models.quantization.kmeans import kmeans
from ssl_jax.models.wav2vec import Hubert, WavConfig, WavEncoder, present_frames, wav_hidden_states
from ssl_jax.transforms.span_masks import SpanMaskConfig, span_masks
from ssl_jax.transforms.speech_features import FeatureConfig, raw_features
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment

MFCC = FeatureConfig(kind="mfcc", mels=23, cepstra=13, deltas=2, normalise="none")
"""39 numbers: 13 coefficients with their first and second differences."""


@dataclasses.dataclass(frozen=True)
class UnitConfig(Settings):
    """The units and their prediction."""

    units: CodebookSize = 100
    """Number of k-means centres."""
    layer: Layers = 6
    """Layer of the frozen model, from 1, that is clustered in the second iteration."""
    rounds: PositiveInt = 20
    """Rounds of k-means."""
    temperature: Temperature = 0.1
    """Divides the cosines of predictions and units."""
    penalty: NonNegativeFloat = 10.0
    """Weight of the mean square of the convolutional features."""


class UnitMethod(NamedTuple):
    """The method, and the units of a batch.

    Attributes:
      speech: the method.
      units: `(params, extras, batch) -> int32 [batch, frames]`, -1 where there is no frame.
    """

    speech: SpeechMethod
    units: Represent


def unit_pretraining(
    network: Hubert,
    units: UnitConfig,
    masking: SpanMaskConfig,
    augmentation: WaveformAugmentation,
    *,
    rate: int,
    normalise: bool,
    teacher: WavConfig | None,
    vector_metrics: VectorMetrics,
) -> UnitMethod:
    """The method.

    Metrics: `accuracy` of the units of masked frames; `code_perplexity` of the units, and `predicted_perplexity` of
    those that are predicted, which falls to 1 if the model collapses; and those of the mean of the last layer over each
    utterance.

    Args:
      network: the model.
      units: what is predicted.
      masking: of the frames.
      augmentation: of the training waveforms.
      rate: samples per second.
      normalise: whether each waveform gets mean 0 and variance 1.
      teacher: the frozen model of the second iteration, whose parameters are at `teacher` of the extras; None for
        MFCCs.
      vector_metrics: of the utterances.
    """
    config, prepared = network.config, preparation(normalise)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        size = config.receptive_field
        example = jnp.zeros((1, size), jnp.float32), jnp.full(1, size, jnp.int32)
        width = MFCC.width if teacher is None else teacher.width
        extras = {
            "centres": jnp.zeros((network.units, width), jnp.float32),
            "found": jnp.zeros((), jnp.bool_),
        }
        if teacher is not None:
            extras["teacher"] = WavEncoder(teacher).init(rng, *example)["params"]
        return {"params": network.init(rng, *example)["params"], **extras}

    def described(extras: Extras, waveform: jax.Array, samples: jax.Array) -> jax.Array:
        """`[batch, frames, width]`, what is clustered, at the frames of the model."""
        frames = config.frames(waveform.shape[1])
        if teacher is None:
            step = frame_stride(config, rate)
            found = raw_features(MFCC, waveform, samples, rate)[:, ::step]
        else:
            states, _ = wav_hidden_states(teacher, extras["teacher"], prepared(waveform, samples), samples)
            found = states[units.layer]
        return jax.lax.stop_gradient(found[:, :frames].astype(jnp.float32))

    def terms(
        params: Tree,
        extras: Extras,
        waveform: jax.Array,
        samples: jax.Array,
        described: jax.Array,
        weight: jax.Array,
        rng: jax.Array,
        training: bool,
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged)."""
        mask_rng, dropout_rng = jax.random.split(rng)
        frames = config.frames(waveform.shape[1])
        mask = span_masks(mask_rng, config.frames(samples), frames, masking)
        encoding = network.apply(
            {"params": params},
            prepared(waveform, samples),
            samples,
            mask,
            deterministic=not training,
            method="encode",
            rngs={"dropout": dropout_rng} if training else {},
        )
        predictions, embeddings = network.apply({"params": params}, encoding.hidden, method="predict")
        logits = unit_logits(predictions, embeddings, units.temperature)
        wanted = nearest(extras["centres"], described)
        weights = jnp.float32(mask) * weight[:, None]
        loss, accuracy = unit_prediction(logits, wanted, weights)
        true = jnp.float32(present_frames(encoding.lengths, frames)) * weight[:, None]
        total = weights.sum()

        def perplexity(codes: jax.Array) -> Mean:
            chosen = jax.nn.one_hot(codes, network.units, dtype=jnp.float32)[..., None, :]
            return Mean(code_diversity(chosen, weights)[1] * total, total)

        losses = {
            "unit_loss": loss,
            "penalty_loss": feature_penalty(encoding.raw_features, true).scaled(units.penalty),
        }
        state = pooled(jax.lax.stop_gradient(encoding.hidden), true > 0, 1)
        watched = {
            "accuracy": accuracy,
            "code_perplexity": perplexity(wanted),
            "predicted_perplexity": perplexity(jnp.argmax(logits, -1)),
        }
        return losses, watched | dict(vector_metrics(state, weight))

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        augment_rng, cluster_rng, rest = jax.random.split(rng, 3)
        weight = batch["example_weight"]
        waveform, samples = augment(augment_rng, batch["waveform"], batch["samples"], augmentation, rate)
        vectors = described(extras, waveform, samples)
        true = jnp.float32(present_frames(config.frames(samples), vectors.shape[1])) * weight[:, None]
        centres = jax.lax.cond(
            extras["found"],
            lambda: extras["centres"],
            lambda: kmeans(cluster_rng, vectors, network.units, units.rounds, true)[0],
        )
        extras = {**extras, "centres": centres, "found": jnp.ones((), jnp.bool_)}
        losses, metrics = terms(params, extras, waveform, samples, vectors, weight, rest, True)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        waveform, samples = batch["waveform"], batch["samples"]
        vectors = described(extras, waveform, samples)
        weight = batch["example_weight"]
        losses, metrics = terms(params, extras, waveform, samples, vectors, weight, rng, False)
        return losses | metrics

    def units_of(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        found = nearest(extras["centres"], described(extras, batch["waveform"], batch["samples"]))
        return jnp.where(present_frames(config.frames(batch["samples"]), found.shape[1]), found, -1)

    method = SpeechMethod(
        Method(init, loss, evaluate), wav_layers(config, prepared), frame_stride(config, rate)
    )
    return UnitMethod(method, units_of)
