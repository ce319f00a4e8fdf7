"""Adversarial voice conversion (Chou et al. 2018, arXiv:1804.02812): speakers are known, without parallel utterances.

The stages of a run, each a method of the same networks:

1. autoencoder: utterances are reconstructed from their content code and the number of their speaker;
2. classifier: a classifier learns to find the speaker in the content code;
3. adversarial: the autoencoder goes on, and takes from the code what the classifier finds;
4. generator: a second decoder adds a residual, so that converted speech looks real to a critic of patches (WGAN-GP,
   arXiv:1704.00028), which also tells the speaker. Encoder and decoder stay.

The loss of a stage is one sum: the terms of each network are without gradient for the others. What a stage does not
train has no gradient; Adam's averages of earlier ones fade within some steps. The networks are at `encoder`, `decoder`,
`classifier`, `generator` and `critic` of the parameters, for an optimiser with groups.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, Probability, Settings
from ssl_jax.errors import UserError
from ssl_jax.losses.adversarial import gradient_penalty
from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.speech import Frames, denormalised, features_of, initial_statistics
from ssl_jax.methods.voices import Codes, Voices
from ssl_jax.models.adversarial_voices import AdversarialVoices
from ssl_jax.models.voice_conversion import VoiceConfig
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment

Stage = Literal["autoencoder", "classifier", "adversarial", "generator"]
STAGES: tuple[Stage, ...] = ("autoencoder", "classifier", "adversarial", "generator")
LOSSES = (
    "reconstruction_loss",
    "confusion_loss",
    "classifier_loss",
    "generator_loss",
    "generator_voice_loss",
    "critic_loss",
    "critic_voice_loss",
    "penalty_loss",
)


@dataclass(frozen=True)
class StageConfig(Settings):
    """How long the stages are, and what the terms weigh; the defaults are those of the authors' code."""

    autoencoder: Probability = 8 / 158
    """Share of the steps of the run that are in the first stage."""
    classifier: Probability = 20 / 158
    """Share of the second stage."""
    adversarial: Probability = 80 / 158
    """Share of the third stage; the fourth one has the rest."""
    confusion: NonNegativeFloat = 0.01
    """Weight of the classifier's loss, which the encoder raises in the third stage."""
    confusion_warmup: Probability = 5 / 8
    """Share of the third stage in which this weight rises from 0."""
    penalty: NonNegativeFloat = 10.0
    """Weight of the critic's gradient penalty."""

    def check_relations(self) -> None:
        total = self.autoencoder + self.classifier + self.adversarial
        if total > 1 + 1e-9:
            raise UserError(f"stages: the shares of the first three add up to {total:g}; expected 1 at most.")

    def ends(self, steps: int) -> tuple[int, ...]:
        """How many steps of a run are finished at the end of each stage."""
        first, second = self.autoencoder, self.autoencoder + self.classifier
        return (*(round(steps * share) for share in (first, second, second + self.adversarial)), steps)


class Stages(NamedTuple):
    """The method in all stages.

    Attributes:
      voices: the method of the last stage, whose evaluation serves all, and what it converts.
      methods: of each stage.
    """

    voices: Voices
    methods: tuple[Method, ...]


def confusion_weight(config: StageConfig, steps: int, finished: jax.Array) -> jax.Array:
    """The weight of the confusion in the step that follows `finished` ones: 0 in the first one of the third stage.

    Args:
      config: of the stages.
      steps: of the run.
      finished: int32 scalar.
    """
    _, start, end, _ = config.ends(steps)
    share = jnp.float32(finished - start) / max(config.confusion_warmup * (end - start), 1)
    return jnp.float32(config.confusion) * jnp.clip(share, 0, 1)


def adversarial_voices(
    config: VoiceConfig,
    features: FeatureConfig,
    augmentation: WaveformAugmentation,
    stages: StageConfig,
    *,
    rate: int,
    speakers: int,
    steps: int,
) -> Stages:
    """The method. A training batch also has `speaker`, int32 `[batch]`. The weight of the confusion is in the extras.

    Metrics: the losses; `error`, the absolute error of the reconstructed features; `classifier_accuracy`, how often the
    classifier finds the speaker in the content code; `critic_gap`, how much better the critic scores real utterances.

    Args:
      config: size of the networks.
      features: of the frames; see `ssl_jax.methods.voices.check_features`.
      augmentation: of the training waveforms.
      stages: their lengths and weights.
      rate: samples per second.
      speakers: number of speakers.
      steps: of the run.
    """
    network = AdversarialVoices(config, features.width, speakers)

    def apply(params: Tree, *arguments: jax.Array, method: str) -> jax.Array:
        return network.apply({"params": params}, *arguments, method=method)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        frames = 2**config.halvings + 1
        blank = jnp.zeros((1, frames, features.width), jnp.float32)
        variables = network.init(rng, blank, jnp.ones((1, frames), bool), jnp.zeros(1, jnp.int32))
        return {
            "params": variables["params"],
            "statistics": initial_statistics(features),
            "confusion": confusion_weight(stages, steps, jnp.int32(0)),
        }

    def reconstruction(params: Tree, seen: Frames, batch: Batch) -> tuple[Mean, jax.Array, jax.Array]:
        """(absolute error, content code, its true frames)."""
        content, true = apply(params, seen.features, seen.mask, method="content")
        decoded = apply(params, content, batch["speaker"], seen.mask, method="decode")
        counted = jnp.float32(seen.mask) * batch["example_weight"][:, None]
        return Mean.of(jnp.abs(decoded - seen.features).mean(-1), counted), content, true

    def classified(
        params: Tree, content: jax.Array, true: jax.Array, batch: Batch
    ) -> tuple[Mean, dict[str, Mean]]:
        logits = apply(params, content, true, method="classify")
        labels = batch["speaker"], batch["example_weight"]
        return cross_entropy(logits, *labels), {"classifier_accuracy": accuracy(logits, *labels)}

    def converted(params: Tree, seen: Frames, speaker: jax.Array) -> jax.Array:
        """Features in the voices of these speakers, with a gradient for the generator alone."""
        fixed = jax.lax.stop_gradient(params)
        content, _ = apply(fixed, seen.features, seen.mask, method="content")
        decoded = apply(fixed, content, speaker, seen.mask, method="decode")
        residual = apply(params, content, speaker, seen.mask, method="residual")
        return (decoded + residual) * jnp.float32(seen.mask)[..., None]

    def played(
        params: Tree, seen: Frames, batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """The losses of generator and critic."""
        choosing, mixing = jax.random.split(rng)
        fixed, examples = jax.lax.stop_gradient(params), batch["example_weight"]
        size = batch["speaker"].shape
        speaker = jax.random.randint(choosing, size, 0, speakers, jnp.int32)
        generated = converted(params, seen, speaker)
        score, logits = apply(fixed, generated, seen.mask, method="judge")
        constant = jax.lax.stop_gradient(generated)
        fake, _ = apply(params, constant, seen.mask, method="judge")
        real, real_logits = apply(params, seen.features, seen.mask, method="judge")
        penalty = gradient_penalty(
            lambda x: apply(params, x, seen.mask, method="judge")[0],
            seen.features,
            constant,
            jax.random.uniform(mixing, size, jnp.float32),
            examples,
        )
        losses = {
            "generator_loss": Mean.of(-score, examples),
            "generator_voice_loss": cross_entropy(logits, speaker, examples),
            "critic_loss": Mean.of(fake - real, examples),
            "critic_voice_loss": cross_entropy(real_logits, batch["speaker"], examples),
            "penalty_loss": penalty.scaled(stages.penalty),
        }
        return losses, {"critic_gap": Mean.of(jax.lax.stop_gradient(real - fake), examples)}

    def terms(
        stage: Stage, params: Tree, seen: Frames, batch: Batch, weight: jax.Array, rng: jax.Array
    ) -> tuple[dict[str, Mean], dict[str, Mean]]:
        """(minimised, only logged)."""
        if stage == "generator":
            return played(params, seen, batch, rng)
        error, content, true = reconstruction(params, seen, batch)
        if stage == "autoencoder":
            return {"reconstruction_loss": error}, {"error": error}
        loss, found = classified(params, jax.lax.stop_gradient(content), true, batch)
        losses = {"classifier_loss": loss}
        if stage == "adversarial":
            hidden, _ = classified(jax.lax.stop_gradient(params), content, true, batch)
            losses |= {"reconstruction_loss": error, "confusion_loss": hidden.scaled(-weight)}
        return losses, found | {"error": error}

    def method(stage: Stage) -> Method:
        def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict, Aux]:
            changing, playing = jax.random.split(rng)
            waveform, samples = augment(changing, batch["waveform"], batch["samples"], augmentation, rate)
            seen = features_of(features, rate, waveform, samples, extras, learn=True)
            losses, watched = terms(stage, params, seen, batch, extras["confusion"], playing)
            metrics = _filled(watched, ("error", "classifier_accuracy", "critic_gap"))
            return _filled(losses, LOSSES), Aux(metrics, seen.extras)

        return Method(init, loss, evaluate, after_update)

    def after_update(params: Tree, extras: Extras, step: jax.Array) -> Extras:
        return {**extras, "confusion": confusion_weight(stages, steps, jnp.int32(step))}

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        error, content, true = reconstruction(params, seen, batch)
        loss, found = classified(params, content, true, batch)
        examples = batch["example_weight"]
        other = jax.random.randint(rng, batch["speaker"].shape, 0, speakers, jnp.int32)
        real, _ = apply(params, seen.features, seen.mask, method="judge")
        fake, _ = apply(params, converted(params, seen, other), seen.mask, method="judge")
        return {
            "reconstruction_loss": error,
            "error": error,
            "classifier_loss": loss,
            "critic_gap": Mean.of(real - fake, examples),
            **found,
        }

    def codes(params: Tree, extras: Extras, batch: Batch) -> Codes:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        return Codes(*apply(params, seen.features, seen.mask, method="content"), None)

    def convert(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        seen = features_of(features, rate, batch["waveform"], batch["samples"], extras)
        return denormalised(converted(params, seen, batch["target"]), extras["statistics"])

    methods = tuple(method(stage) for stage in STAGES)
    return Stages(Voices(methods[-1], features, rate, "speaker", codes, convert), methods)


def _filled(means: Mapping[str, Mean], names: tuple[str, ...]) -> dict[str, Mean]:
    """Those that a stage does not have are means of nothing, since all stages have the same names."""
    nothing = Mean(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32))
    return {name: means.get(name, nothing) for name in names}
