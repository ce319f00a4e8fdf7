"""CPC: future frames are told from others of the utterance by what has been heard so far (arXiv:1807.03748)."""

import dataclasses
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import PositiveInt, Settings, integers
from ssl_jax.losses.speech import future_contrast
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.speech import SpeechMethod, VectorMetrics, pooled
from ssl_jax.methods.wav2vec2 import frame_stride
from ssl_jax.models.gru import GruLayer
from ssl_jax.models.layers import Dense
from ssl_jax.models.wav2vec import FeatureEncoder, FeatureEncoderConfig, present_frames
from ssl_jax.transforms.span_masks import draw_negatives
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment


@dataclasses.dataclass(frozen=True)
class FutureConfig(Settings):
    """The objective; the defaults are those of facebookresearch/CPC_audio."""

    steps: Annotated[int, integers(1, 1_000)] = 12
    """Each place predicts so many frames after it."""
    negatives: PositiveInt = 128
    """Other frames of the utterance that a future frame is told from."""


class Cpc(nn.Module):
    """Convolutions, a recurrent layer, and a linear map for each number of steps ahead."""

    config: FeatureEncoderConfig
    steps: int

    @nn.compact
    def __call__(
        self, waveform: jax.Array, samples: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Of waveforms `[batch, samples]` with `samples [batch]` true ones.

        Returns:
          features `[batch, frames, width]`, the states of the recurrent layer of the same shape, predictions `[steps,
          batch, frames, width]`, and the true frames `[batch]`.
        """
        c = self.config
        features, lengths = FeatureEncoder(c, name="feature_encoder")(waveform, samples)
        states = GruLayer(c.conv_width, c.dtype, name="recurrent")(features)
        shape = (self.steps, c.conv_width)
        predictions = Dense(shape, None, c.dtype, bias=False, name="predictions")(states)
        return features, states, jnp.moveaxis(predictions, 2, 0), lengths


def future_prediction(
    network: Cpc,
    future: FutureConfig,
    augmentation: WaveformAugmentation,
    *,
    rate: int,
    vector_metrics: VectorMetrics,
) -> SpeechMethod:
    """The method. Metrics: `accuracy`, how often the future frame has the highest score; and those of utterances.

    Args:
      network: the model.
      future: the objective.
      augmentation: of the training waveforms.
      rate: samples per second.
      vector_metrics: of the means of the recurrent states over utterances.
    """
    config = network.config

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        size = config.receptive_field
        example = jnp.zeros((1, size), jnp.float32), jnp.full(1, size, jnp.int32)
        return {"params": network.init(rng, *example)["params"]}

    def terms(
        params: Tree, waveform: jax.Array, samples: jax.Array, weight: jax.Array, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        features, states, predictions, lengths = network.apply({"params": params}, waveform, samples)
        frames = features.shape[1]
        # All frames of the row but one, which the loss leaves out where it is the positive of a step.
        negatives = draw_negatives(rng, lengths, frames, future.negatives)
        loss, accuracy = future_contrast(predictions, features, negatives, lengths, weight)
        true = present_frames(lengths, frames) & (weight[:, None] > 0)
        state = pooled(jax.lax.stop_gradient(states), true, 1)
        return {"future_loss": loss}, {"accuracy": accuracy, **vector_metrics(state, weight)}

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        augment_rng, rest = jax.random.split(rng)
        waveform, samples = augment(augment_rng, batch["waveform"], batch["samples"], augmentation, rate)
        losses, metrics = terms(params, waveform, samples, batch["example_weight"], rest)
        return losses, Aux(metrics, extras)

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = terms(params, batch["waveform"], batch["samples"], batch["example_weight"], rng)
        return losses | metrics

    def layers(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        features, states, _, _ = network.apply({"params": params}, batch["waveform"], batch["samples"])
        return {"convolutions": features, "recurrent": states}

    return SpeechMethod(Method(init, loss, evaluate), layers, frame_stride(config, rate))
