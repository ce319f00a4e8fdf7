"""Experiments of voice conversion: their configuration, their data, and the experiment."""

from dataclasses import dataclass

import jax

from ssl_jax.data.speech import batch_shapes, heldout_shapes
from ssl_jax.data.voice_pairs import find_pairs
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.speech import pooled
from ssl_jax.methods.voices import Voices, check_features
from ssl_jax.recipes.base import make_experiment, one_phase
from ssl_jax.recipes.speech import SpeechRunConfig, open_speech_data
from ssl_jax.reports.speech import LOG_MEL, normalised_log_mel
from ssl_jax.reports.voice_conversion import VoiceReport
from ssl_jax.reports.voice_samples import VoiceData
from ssl_jax.training.experiment import Data, Experiment


@dataclass(frozen=True)
class VoiceRunConfig(SpeechRunConfig):
    """A run of voice conversion; the defaults are those of the synthesised words without transmission channels."""

    conversions: PositiveInt = 150
    """Most held-out utterances that are converted for the report."""
    pairs: tuple[NonEmptyText, ...] = ()
    """SOURCE:TARGET speakers for the report, whose utterances of one word or sentence are of one text. Empty: every
    speaker with held-out utterances into the voice of every other one."""
    unparallel_pairs: tuple[NonEmptyText, ...] = ()
    """The same, of speakers of different texts, such as two languages: there is no target to compare with."""

    def check_relations(self) -> None:
        super().check_relations()
        check_features(self.features)


def open_voice_data(config: VoiceRunConfig) -> Data:
    """The utterances of a run, and what conversions are measured on.

    Raises:
      UserError: as `open_speech_data` does, or nothing can be converted.
    """
    data = open_speech_data(config)
    pairs = find_pairs(
        data.details,
        config.data,
        pairs=config.pairs,
        unparallel=config.unparallel_pairs,
        count=config.conversions,
        seed=config.train.seed,
    )
    return data._replace(details=VoiceData(data.details, pairs))


def voice_experiment(config: VoiceRunConfig, voices: Voices, *, headline: tuple[str, ...]) -> Experiment:
    """The experiment of a method that is told no speaker.

    Args:
      config: of the run.
      voices: what is trained.
      headline: names of the metrics that the progress bar and the plots show.
    """
    rate, size = config.data.rate, config.train.batch_size
    made = VoiceReport(voices, config.data, probe_frames=config.probe_frames, seed=config.train.seed)

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        found = voices.codes(params, extras, batch)
        return pooled(found.content, found.true)

    def raw(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return pooled(*normalised_log_mel(batch, rate, config.features.mels, "none"))

    return make_experiment(
        config,
        voices.method,
        phases=one_phase(
            config,
            batch_shapes(config.data, size),
            "seconds",
            max(1, round(config.data.longest)),
            heldout_shapes(config.data, size),
        ),
        open_data=lambda folder: open_voice_data(config),
        represent=represent,
        raw=(LOG_MEL, raw),
        headline=headline,
        sample=made.sample,
        report=made.report,
    )
