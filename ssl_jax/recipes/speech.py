"""Experiments on speech: their configuration, the settings of each data set, and the experiment.

The configuration of an experiment extends `SpeechRunConfig` with the fields of its paper, and its presets start from
the settings below: `Config(**SYNTHESISED, ahead=5)`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.data.speech import (
    SpeechConfig,
    SpeechRows,
    SpeechSplits,
    batch_shapes,
    heldout_shapes,
    open_speech,
)
from ssl_jax.domains import PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.method import Batch, Extras, Represent, Tree
from ssl_jax.methods.speech import SpeechMethod, pooled
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.speech import LOG_MEL, normalised_log_mel, report_speech
from ssl_jax.training.experiment import Data, Experiment, Inference, Report, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.speech_features import FeatureConfig, frame_mask
from ssl_jax.transforms.waveforms import WaveformAugmentation


@dataclass(frozen=True)
class SpeechRunConfig(RunConfig):
    """A run on speech; the defaults are those of the synthesised words."""

    data: SpeechConfig = field(default_factory=SpeechConfig)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    augmentation: WaveformAugmentation = field(default_factory=WaveformAugmentation)
    probe_utterances: PositiveInt = 3_000
    """Most utterances that the probes at the end of the run are fitted to."""
    probe_frames: PositiveInt = 5_000
    """Most frames that the probes of phones are fitted to, and scored on."""

    def check_relations(self) -> None:
        segment = self.augmentation.segment
        if segment > self.data.longest:
            raise UserError(
                f"augmentation.segment {segment}: expected at most data.longest, {self.data.longest} seconds."
            )


Settings = dict[str, Any]
"""Fields of a `SpeechRunConfig` by name."""

SYNTHESISED: Settings = {
    "steps": 600,
    "probe_utterances": 1_000,
    "optimizer": OptimizerConfig(name="adamw", weight_decay=0.01, clip_norm=1.0, epsilon=1e-8),
    "schedule": ScheduleConfig(learning_rate=2e-3, warmup_steps=50, decay="cosine"),
    "train": TrainConfig(batch_size=32, eval_every=300, save_every=300, keep_every=300),
}
"""2,880 synthesised words by 24 speakers, six of whom are held out: offline, minutes."""

LIBRISPEECH: Settings = {
    "data": SpeechConfig(
        source="tfds:librispeech:train_clean360", rate=16_000, longest=15.0, shortest=0.5, heldout_share=0.01
    ),
    "features": FeatureConfig(mels=80),
}
"""Read English, 16 kHz, by TFDS; utterances are shorter than 35 seconds, of which a random 15 are used at a time."""


def open_speech_data(config: SpeechRunConfig, speakers: int = 0) -> Data:
    """The utterances of a run, in the order of its seed, with the labels that probes need.

    Args:
      config: of the run.
      speakers: see `speech_experiment`.

    Raises:
      UserError: a source is missing or cannot be used, there are fewer utterances than a batch, or more speakers than
        the method can tell apart.
    """
    speech = open_speech(config.data)
    seed, size = config.train.seed, config.train.batch_size
    if len(speech.train) < size:
        raise UserError(
            f"data.source {config.data.source}: {len(speech.train)} utterances to train on, fewer than one batch; "
            f"give more, or a --train.batch_size of at most {len(speech.train)}."
        )
    if speakers and len(speech.utterances.speakers) > speakers:
        raise UserError(
            f"data.source {config.data.source}: {len(speech.utterances.speakers)} speakers, more than the {speakers} "
            f"that the model tells apart; give --speakers {len(speech.utterances.speakers)}."
        )
    heldout = rows_of(speech.heldout)
    known = label_of_probes(speech)
    labelled = {}
    if known:
        labelled = {
            side: rows_of(rows).map(lambda row: {**row, "label": row[known]})
            for side, rows in (("train", speech.probe), ("heldout", speech.heldout))
        }
    return Data(
        train=(training_rows(speech, seed, speaker=speakers > 0),),
        heldout=({"heldout": heldout},),
        identity=speech.identity,
        details=speech,
        labelled=labelled,
        preprocessing=config.data.preprocessing,
    )


def rows_of(rows: SpeechRows) -> grain.MapDataset:
    """A finite data set of all rows, each from the beginning of its utterance."""
    return grain.MapDataset.range(len(rows)).map(rows)


def training_rows(speech: SpeechSplits, seed: int, *, speaker: bool) -> grain.MapDataset:
    """The rows to train on without end, in another order in every epoch; see `ssl_jax.data.speech.batch_shapes`."""
    order = grain.MapDataset.range(len(speech.train)).seed(seed).shuffle().repeat()
    if not speaker:
        return order.random_map(speech.train)
    names = ("waveform", "samples", "speaker")
    return order.random_map(speech.probe).map(lambda row: {name: row[name] for name in names})


def label_of_probes(speech: SpeechSplits) -> str:
    """What `linear_eval` probes: "word" or "speaker", of which training and held-out rows share two or more; or ""."""
    for name in ("word", "speaker"):
        labels = getattr(speech.utterances, name)
        shared = np.intersect1d(labels[speech.train.chosen], labels[speech.heldout.chosen])
        if (shared >= 0).sum() >= 2:
            return name
    return ""


def speech_experiment(
    config: SpeechRunConfig,
    method: SpeechMethod,
    *,
    headline: tuple[str, ...],
    pictures: Any = None,
    speakers: int = 0,
    sample: Callable[[Report], None] | None = None,
    export: Callable[[epath.Path, Tree, Any], None] | None = None,
    units: Represent | None = None,
) -> Experiment:
    """The experiment of any method on speech: data, optimiser, and a report with probes.

    Args:
      config: of the run.
      method: what is trained.
      headline: names of the metrics that the progress bar and the plots show.
      pictures: `(report)`: draws what only this method can; None for nothing.
      speakers: most speakers of data whose training rows name the speaker; 0 for rows without labels.
      sample, export: see `ssl_jax.training.experiment.Experiment`.
      units: `(params, extras, batch) -> int32 [batch, units]`, the code of each recording, -1 where there is none.
    """
    rate, size = config.data.rate, config.train.batch_size

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        frames = [*method.layers(params, extras, batch).values()][-1]
        mask = frame_mask(batch["samples"], config.data.frames, rate)[:, :: method.stride]
        return pooled(frames, mask[:, : frames.shape[1]])

    def raw(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        frames, mask = normalised_log_mel(batch, rate, config.features.mels, "none")
        return pooled(frames, mask)

    def report(of: Report) -> None:
        report_speech(
            of,
            method,
            rate=rate,
            mels=config.features.mels,
            utterances=config.probe_utterances,
            frames=config.probe_frames,
            seed=config.train.seed,
        )
        if pictures:
            pictures(of)

    return make_experiment(
        config,
        method.method,
        phases=one_phase(
            config,
            batch_shapes(config.data, size, speaker=speakers > 0),
            "seconds",
            max(1, round(config.data.longest)),
            heldout_shapes(config.data, size),
        ),
        open_data=lambda folder: open_speech_data(config, speakers),
        represent=represent,
        raw=(LOG_MEL, raw),
        headline=headline,
        sample=sample,
        report=report,
        export=export,
        inference=Inference(encode=units),
    )
