"""wav2vec 2.0: the quantised frame of a masked place is told from those of other masked places (arXiv:2006.11477)."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, PositiveInt, PositiveShare, Settings, Temperature
from ssl_jax.errors import UserError
from ssl_jax.losses.speech import code_diversity, feature_penalty, masked_contrast
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.speech import Layers, SpeechMethod, VectorMetrics, pooled
from ssl_jax.models.wav2vec import (
    FeatureEncoderConfig,
    Wav2Vec2,
    WavConfig,
    present_frames,
    wav_hidden_states,
)
from ssl_jax.transforms.span_masks import SpanMaskConfig, draw_negatives, masked_places, span_masks
from ssl_jax.transforms.speech_features import hop_samples, window_samples
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment

EPSILON = 1e-7
"""Added to the variance of a waveform, as transformers' feature extractor does."""


@dataclasses.dataclass(frozen=True)
class ContrastConfig(Settings):
    """The objective; the defaults are the paper's and fairseq's."""

    negatives: PositiveInt = 100
    """Other masked places that a masked place is told from."""
    temperature: Temperature = 0.1
    """Divides the cosines."""
    diversity: NonNegativeFloat = 0.1
    """Weight of the diversity loss."""
    penalty: NonNegativeFloat = 10.0
    """Weight of the mean square of the convolutional features."""
    first_temperature: Temperature = 2.0
    """Of the Gumbel-softmax, at the first step."""
    last_temperature: Temperature = 0.5
    """The least that it falls to."""
    temperature_decay: PositiveShare = 0.999995
    """Factor of it at each step."""

    def gumbel_temperature(self, step: jax.Array) -> jax.Array:
        """After `step` steps."""
        decayed = self.first_temperature * jnp.exp(math.log(self.temperature_decay) * jnp.float32(step))
        return jnp.maximum(decayed, self.last_temperature)


Prepare = Callable[[jax.Array, jax.Array], jax.Array]
"""`(waveform [batch, samples], samples [batch]) -> waveform`, what the model reads."""


def preparation(normalise: bool) -> Prepare:
    """`normalise_waveform`, or nothing."""
    return normalise_waveform if normalise else lambda waveform, samples: waveform


def normalise_waveform(waveform: jax.Array, samples: jax.Array) -> jax.Array:
    """Each waveform `[batch, samples]` with mean 0 and variance 1 over its true `samples [batch]`; 0 beyond them."""
    mask = present_frames(samples, waveform.shape[1])
    count = jnp.float32(jnp.maximum(samples, 1))[:, None]
    mean = jnp.where(mask, waveform, 0).sum(1, keepdims=True) / count
    centred = jnp.where(mask, waveform - mean, 0)
    return centred * jax.lax.rsqrt(jnp.square(centred).sum(1, keepdims=True) / count + EPSILON)


def wav_layers(config: WavConfig, prepared: Prepare) -> Layers:
    """The output of each layer of the encoder, by its name, for waveforms that are prepared as in training."""

    def layers(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        waveform = prepared(batch["waveform"], batch["samples"])
        states, _ = wav_hidden_states(config, params["encoder"], waveform, batch["samples"])
        return {f"layer {number}": states[number] for number in range(1, len(states))}

    return layers


def frame_stride(config: FeatureEncoderConfig, rate: int) -> int:
    """How many frames of 10 ms, as labels and features of speech have them, a frame of the model stands for.

    Raises:
      UserError: it is no whole number, or a frame reads less than 25 ms: there would be more frames than labels.
    """
    stride, window = math.prod(config.strides), window_samples(rate)
    if stride % hop_samples(rate) or config.receptive_field < window:
        raise UserError(
            f"strides {config.strides} and kernels {config.kernels}: a frame every {stride} samples, of "
            f"{config.receptive_field}; at {rate} Hz, expected a multiple of {hop_samples(rate)} samples (10 ms) and "
            f"frames of at least {window} (25 ms)."
        )
    return stride // hop_samples(rate)


def masked_contrastive(
    network: Wav2Vec2,
    contrast: ContrastConfig,
    masking: SpanMaskConfig,
    augmentation: WaveformAugmentation,
    *,
    rate: int,
    normalise: bool,
    vector_metrics: VectorMetrics,
) -> SpeechMethod:
    """The method.

    Metrics: `accuracy`, how often the positive is more similar than all negatives; `code_perplexity`, of the codes that
    are chosen, summed over the codebooks: as many as there are codebooks if the codes have collapsed; and those of the
    mean of the last layer over each utterance. An evaluation masks, too, but takes the likeliest codes.

    Args:
      network: model and quantiser.
      contrast: the objective.
      masking: of the frames.
      augmentation: of the training waveforms.
      rate: samples per second.
      normalise: whether each waveform gets mean 0 and variance 1.
      vector_metrics: of the utterances.
    """
    config, prepared = network.config, preparation(normalise)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        size = config.receptive_field
        params = network.init(rng, jnp.zeros((1, size), jnp.float32), jnp.full(1, size, jnp.int32))["params"]
        return {"params": params, "temperature": contrast.gumbel_temperature(jnp.zeros((), jnp.int32))}

    def terms(
        params: Tree,
        waveform: jax.Array,
        samples: jax.Array,
        weight: jax.Array,
        rng: jax.Array,
        temperature: jax.Array | None,
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged); without a temperature as in an evaluation."""
        mask_rng, negative_rng, code_rng, first_rng, second_rng = jax.random.split(rng, 5)
        training = temperature is not None
        frames = config.frames(waveform.shape[1])
        mask = span_masks(mask_rng, config.frames(samples), frames, masking)
        dropout = [{"dropout": key} if training else {} for key in (first_rng, second_rng)]
        encoding = network.apply(
            {"params": params},
            prepared(waveform, samples),
            samples,
            mask,
            deterministic=not training,
            method="encode",
            rngs=dropout[0],
        )
        places, present = masked_places(mask, masking.most_masked(frames))
        hidden, features = (
            jnp.take_along_axis(x, places[..., None], axis=1) for x in (encoding.hidden, encoding.features)
        )
        predictions, targets, quantized = network.apply(
            {"params": params},
            hidden,
            features,
            temperature,
            code_rng if training else None,
            deterministic=not training,
            method="compare",
            rngs=dropout[1],
        )
        counts = present.sum(1, dtype=jnp.int32)
        negatives = draw_negatives(negative_rng, counts, places.shape[1], contrast.negatives)
        weights = jnp.float32(present) * weight[:, None]
        loss, accuracy = masked_contrast(
            predictions, targets, quantized.codes, negatives, weights, contrast.temperature
        )
        diversity, _ = code_diversity(quantized.probabilities, weights)
        chosen = jax.nn.one_hot(quantized.codes, network.quantizer_config.codes, dtype=jnp.float32)
        _, perplexity = code_diversity(chosen, weights)
        true = jnp.float32(present_frames(encoding.lengths, frames)) * weight[:, None]
        losses = {
            "contrastive_loss": loss,
            "diversity_loss": diversity.scaled(contrast.diversity),
            "penalty_loss": feature_penalty(encoding.raw_features, true).scaled(contrast.penalty),
        }
        state = pooled(jax.lax.stop_gradient(encoding.hidden), true > 0, 1)
        total = weights.sum()
        watched = {"accuracy": accuracy, "code_perplexity": Mean(perplexity * total, total)}
        return losses, watched | dict(vector_metrics(state, weight))

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        augment_rng, rest = jax.random.split(rng)
        waveform, samples = augment(augment_rng, batch["waveform"], batch["samples"], augmentation, rate)
        losses, metrics = terms(
            params, waveform, samples, batch["example_weight"], rest, extras["temperature"]
        )
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = terms(
            params, batch["waveform"], batch["samples"], batch["example_weight"], rng, None
        )
        return losses | metrics

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "temperature": contrast.gumbel_temperature(step)}

    return SpeechMethod(
        Method(init, loss, evaluate, after_update), wav_layers(config, prepared), frame_stride(config, rate)
    )
