"""AdaIN voice conversion (Chou & Lee 2019, arXiv:1904.05742): an autoencoder whose code is in two parts.

The content encoder has instance normalisation, which takes away what is constant in an utterance, most of the speaker;
the speaker encoder gives one code for the utterance. The decoder puts both together. An utterance in another voice is
its content with the speaker code of another utterance: neither speaker labels nor parallel utterances are needed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, NonNegativeInt, Settings
from ssl_jax.losses.variational import gaussian_kl, kl_weight, sample_gaussian
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.speech import Frames, VectorMetrics, denormalised, features_of, initial_statistics
from ssl_jax.methods.voices import Codes, Voices, reference_of
from ssl_jax.models.voice_conversion import VoiceConfig, VoiceConverter
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment


@dataclass(frozen=True)
class LossConfig(Settings):
    """The weights of the two terms of the loss."""

    reconstruction: NonNegativeFloat = 10.0
    """Of the absolute error of the features, the mean over true frames and filters."""
    kl: NonNegativeFloat = 1.0
    """Of the divergence of the content code from a standard normal distribution, the mean over its numbers."""
    kl_warmup_steps: NonNegativeInt = 20_000
    """Steps over which the weight of the divergence rises from 0."""


def voice_conversion(
    config: VoiceConfig,
    features: FeatureConfig,
    augmentation: WaveformAugmentation,
    loss_config: LossConfig,
    *,
    rate: int,
    vector_metrics: VectorMetrics,
) -> Voices:
    """The method. The weight of the divergence is in the extras as `kl_weight`.

    Metrics: the losses, `reconstruction_loss` and `kl_loss`, with their weights; `error`, the absolute error of the
    features, in evaluations of the reconstruction from the mean code; `kl`, nats of a number of the content code; and
    those of the speaker codes.

    Args:
      config: size of the networks.
      features: of the frames; see `ssl_jax.methods.voices.check_features`.
      augmentation: of the training waveforms; its segment is what the networks see of an utterance.
      loss_config: weights.
      rate: samples per second.
      vector_metrics: of the speaker codes.
    """
    network = VoiceConverter(config, features.width)

    def weight_of(step: jax.Array) -> jax.Array:
        return kl_weight(step, beta=loss_config.kl, warmup_steps=loss_config.kl_warmup_steps)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        frames = 2**config.halvings + 1
        blank = jnp.zeros((1, frames, features.width), jnp.float32)
        return {
            "params": network.init(rng, blank, jnp.ones((1, frames), bool))["params"],
            "statistics": initial_statistics(features),
            "kl_weight": weight_of(jnp.int32(1)),
        }

    def terms(
        params: Tree, seen: Frames, batch: Batch, weight: jax.Array, rng: jax.Array | None
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged); of the mean code where there is no key."""
        frames, mask = seen.features, seen.mask
        mean, log_variance, true = network.apply({"params": params}, frames, mask, method="content")
        speaker = network.apply({"params": params}, frames, mask, method="speaker")
        code = mean if rng is None else sample_gaussian(rng, mean, log_variance)
        decoded = network.apply({"params": params}, code, speaker, mask, method="decode")
        examples = batch["example_weight"][:, None]
        error = Mean.of(jnp.abs(decoded - frames).mean(-1), jnp.float32(mask) * examples)
        divergence = Mean.of(gaussian_kl(mean, log_variance).mean(-1), jnp.float32(true) * examples)
        losses = {
            "reconstruction_loss": error.scaled(loss_config.reconstruction),
            "kl_loss": divergence.scaled(weight),
        }
        watched = vector_metrics(jax.lax.stop_gradient(speaker), batch["example_weight"])
        return losses, {"error": error, "kl": divergence, **watched}

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict, Aux]:
        changing, drawing = jax.random.split(rng)
        waveform, samples = augment(changing, batch["waveform"], batch["samples"], augmentation, rate)
        seen = features_of(features, rate, waveform, samples, extras, learn=True)
        losses, watched = terms(params, seen, batch, extras["kl_weight"], drawing)
        return losses, Aux(watched, seen.extras)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "kl_weight": weight_of(step + 1)}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        losses, watched = terms(params, seen, batch, extras["kl_weight"], None)
        return losses | watched

    def codes(params: Tree, extras: Extras, batch: Batch) -> Codes:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        mean, _, true = network.apply({"params": params}, seen.features, seen.mask, method="content")
        speaker = network.apply({"params": params}, seen.features, seen.mask, method="speaker")
        return Codes(mean, true, speaker)

    def convert(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        seen, other = (
            features_of(features, rate, each["waveform"], each["samples"], extras)
            for each in (batch, reference_of(batch))
        )
        mean, *_ = network.apply({"params": params}, seen.features, seen.mask, method="content")
        speaker = network.apply({"params": params}, other.features, other.mask, method="speaker")
        decoded = network.apply({"params": params}, mean, speaker, seen.mask, method="decode")
        return denormalised(decoded, extras["statistics"])

    return Voices(Method(init, loss, evaluate, after_update), features, rate, "utterance", codes, convert)
