"""Experiments of voice conversion: their configuration, their data, and the experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ssl_jax.data.speech import batch_shapes, heldout_shapes
from ssl_jax.data.voice_pairs import find_pairs
from ssl_jax.domains import NonEmptyText, PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Method, Tree
from ssl_jax.methods.speech import pooled
from ssl_jax.methods.voices import Voices, check_features
from ssl_jax.recipes.base import make_experiment, one_phase
from ssl_jax.recipes.speech import SpeechRunConfig, open_speech_data, training_rows
from ssl_jax.reports.speech import LOG_MEL, normalised_log_mel
from ssl_jax.reports.voice_conversion import VoiceReport
from ssl_jax.reports.voice_samples import VoiceData
from ssl_jax.training.experiment import Data, Experiment, Phase


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


def phases_of_stages(
    config: VoiceRunConfig, ends: Sequence[int], methods: Sequence[Method]
) -> tuple[Phase, ...]:
    """The phases of a run in stages, whose batches have `speaker`; a stage without a step has none.

    Args:
      config: of the run.
      ends: steps that are finished at the end of each stage.
      methods: of the stages.
    """
    size = config.train.batch_size
    rows = batch_shapes(config.data, size, speaker=True)
    work = "seconds", size * max(1, round(config.data.longest))
    heldout = heldout_shapes(config.data, size)
    steps = np.diff([0, *ends]).tolist()
    return tuple(
        Phase(count, rows, work, heldout, method=method)
        for count, method in zip(steps, methods, strict=True)
        if count
    )


def open_staged_data(config: VoiceRunConfig, phases: Sequence[Phase], speakers: int) -> Data:
    """The data of a run in stages, which knows its speakers: a stage goes on with the rows where the last one stops.

    Raises:
      UserError: as `open_voice_data` does, or there are not so many speakers.
    """
    data = open_voice_data(config)
    speech = data.details.speech
    names, known = speech.utterances.speakers, speech.utterances.speaker[speech.train.chosen]
    if len(names) != speakers or (known < 0).any():
        raise UserError(
            f"data.source {config.data.source}: {len(names)} speakers"
            f"{', and utterances of unknown ones' if (known < 0).any() else ''}; expected as many as --speakers, "
            f"{speakers}, each with a name (--data.labels or a table)."
        )
    if absent := sorted({*range(speakers)} - {*known.tolist()}):
        raise UserError(
            f"data.heldout {config.data.heldout}: {names[absent[0]]} is not trained on, so that there is no code of "
            "this speaker; hold out words or utterances with --data.heldout."
        )
    rows = training_rows(speech, config.train.seed, speaker=True)
    starts = np.cumsum([0, *(phase.steps for phase in phases[:-1])]) * config.train.batch_size
    return data._replace(
        train=tuple(rows[int(start) :] if start else rows for start in starts),
        heldout=data.heldout * len(phases),
    )


def voice_experiment(
    config: VoiceRunConfig, voices: Voices, *, headline: tuple[str, ...], **instead: Any
) -> Experiment:
    """The experiment of a method that converts voices.

    Args:
      config: of the run.
      voices: what is trained.
      headline: names of the metrics that the progress bar and the plots show.
      **instead: fields of `Experiment` in place of those of a method that is told no speaker.
    """
    rate, size = config.data.rate, config.train.batch_size
    made = VoiceReport(voices, config.data, probe_frames=config.probe_frames, seed=config.train.seed)

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        found = voices.codes(params, extras, batch)
        return pooled(found.content, found.true)

    def raw(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return pooled(*normalised_log_mel(batch, rate, config.features.mels, "none"))

    shared = {
        "phases": one_phase(
            config,
            batch_shapes(config.data, size),
            "seconds",
            max(1, round(config.data.longest)),
            heldout_shapes(config.data, size),
        ),
        "open_data": lambda folder: open_voice_data(config),
    }
    return make_experiment(
        config,
        voices.method,
        **(shared | instead),
        represent=represent,
        raw=(LOG_MEL, raw),
        headline=headline,
        converter=voices,
        sample=made.sample,
        report=made.report,
    )
