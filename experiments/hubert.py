"""HuBERT: the units of masked frames are predicted (Hsu et al. 2021, arXiv:2106.07447).

    python -m experiments.hubert                             # offline, first iteration: units of MFCCs
    python -m experiments.hubert second                      # offline: a first iteration, then units of its features
    python -m experiments.hubert second --run runs/hubert-synthesised       # over a run of the first iteration
    python -m experiments.hubert base --workdir runs/hubert     # the paper's base model; then base_second --run RUN

The first iteration predicts k-means units of MFCCs, the second one units of a layer of the first iteration's model,
which is trained first in the folder first/ of the run, or copied there with --run. The report probes every layer for
phones, words and speakers, and compares the units themselves with phones (PNMI and purity, section 4.5).

Linear probes on held-out speakers of the synthesised words, accuracy in % (default, seed 0, 28 November 2026, 2 AMD
cores that other programs used too; phones without silence, the speakers' probe on words that it was not fitted to):

                              phone   word   10 labels a word   speaker
    log-mel                    55.9   89.3               85.7      57.8
    log-mel, per utterance     47.2   85.8               82.5      30.6
    untrained, last layer      19.6   30.0               22.8      26.4
    layer 1                    57.2   89.4               84.5      35.3
    layer 2                    57.0   88.2               84.8      30.8
    layer 3                    55.6   85.8               82.5      29.2

So after 600 steps, the network that starts with random filters of the waveform has caught up with the spectrum, and has
left out what tells the speakers apart. 24.2 % of the units of masked held-out frames are predicted; the 50 units have a
PNMI of 0.450 and a phone purity of 0.561. The second iteration (seed 0) predicts 52.1 % of its units, and its layers
are within two points of the first one's for phones and words (57.3, 88.3 and 84.1 by the best); its units, of layer 2
of a network that has seen so little, tell less of the phones than those of MFCCs: PNMI 0.411, purity 0.451.

Recorded digits, each of six speakers held out in turn (as in experiments.apc; 600 steps, 10 labels a word): layer 1
names 55.0 ± 7.7 % of the words, log-mel 59.5 ± 12.8, the untrained network 23.9 ± 3.5; of recordings that were held out
instead, 71.2, 81.1 and 26.6 %. Of the phones of flite's voices, 36.3, 49.4 and 19.8 %.

The presets for pods differ from the paper's in these things: the centres are found at the first step, from its batch
(the paper: from 10 % or all of the data, before the run), and units are of the segment that the model sees; no layer is
dropped; rows are random segments of a fixed length; and the group normalisation leaves padding out. They have not been
trained.

On TPUs: base, base_second on v5e:4x4 (docs/planning.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from experiments.wav2vec2 import BASE as WAV2VEC2_BASE
from experiments.wav2vec2 import SMALL
from ssl_jax.cli import main
from ssl_jax.domains import PositiveInt, Text, Width
from ssl_jax.errors import UserError
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.hub.wav2vec2 import save_feature_extractor, save_wav2vec2
from ssl_jax.methods.hubert import UnitConfig, unit_pretraining
from ssl_jax.models.wav2vec import Hubert, WavConfig
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.reports.speech_codes import report_units, warn_of_code_collapse
from ssl_jax.runs.prerequisites import PlannedRun, Prerequisite
from ssl_jax.training.experiment import Experiment, Report
from ssl_jax.transforms.span_masks import SpanMaskConfig


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """HuBERT."""

    second: bool = False
    """Whether units are of the features of a first iteration, and not of MFCCs."""
    run: Text = ""
    """A run of experiments.hubert, RUN or RUN@STEP, as the first iteration; it is copied into first/ of the run folder.
    Without one, the first iteration has this configuration, `first_steps` and `first_units`, and is trained there."""
    copies: ClassVar[Mapping[str, str]] = {"run": "first"}
    """Folder that the named run is copied to."""
    first_steps: PositiveInt = 600
    """Steps of a first iteration that is trained here."""
    first_units: PositiveInt = 100
    """Its units."""
    model: WavConfig = field(default_factory=WavConfig)
    units: UnitConfig = field(default_factory=UnitConfig)
    projection_width: Width = 256
    """Numbers of the vectors that are compared with those of the units."""
    masking: SpanMaskConfig = field(default_factory=lambda: SpanMaskConfig(start_probability=0.08))
    normalise: bool = False
    """Whether each waveform gets mean 0 and variance 1 (large)."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.run and not self.second:
            raise UserError("run: names a first iteration, so --second True is needed, too.")
        if self.second and not self.run and self.units.layer > self.model.layers:
            raise UserError(
                f"units.layer {self.units.layer}: the first iteration's model has {self.model.layers} layers."
            )


FIRST = Config(
    **SYNTHESISED,
    model=SMALL,
    units=UnitConfig(units=50, layer=2),
    projection_width=64,
    masking=SpanMaskConfig(start_probability=0.1, span=4),
    normalise=True,
    first_units=50,
)
BASE = Config(
    **LIBRISPEECH,
    steps=250_000,
    model=WavConfig(dtype="bfloat16"),
    augmentation=WAV2VEC2_BASE.augmentation,
    optimizer=replace(WAV2VEC2_BASE.optimizer, clip_norm=10.0),
    schedule=replace(WAV2VEC2_BASE.schedule, warmup_steps=20_000),
    train=replace(WAV2VEC2_BASE.train, batch_size=192),
    first_steps=250_000,
)
"""The paper's section 4.2: 32 GPUs with at most 87.5 seconds each, 2,800 in all; here 192 segments of 15 seconds, a
number that 16 chips can share. 8 % of the steps are a warm-up. The rest: facebookresearch/fairseq,
hubert_base_librispeech.yaml."""

PRESETS = {
    "synthesised": FIRST,
    "second": replace(FIRST, second=True),
    "base": BASE,
    "base_second": replace(
        BASE,
        second=True,
        steps=400_000,
        units=UnitConfig(units=500, layer=6),
        schedule=replace(BASE.schedule, warmup_steps=32_000),
    ),
}


def first_iteration(config: Config) -> Prerequisite:
    """The run whose features the units are of."""
    units = replace(config.units, units=config.first_units)
    planned = replace(config, second=False, run="", steps=config.first_steps, units=units)
    return Prerequisite("first", PlannedRun("experiments.hubert", "synthesised", planned), config.run)


def build(config: Config) -> Experiment:
    """The model, its units, and everything that experiments on speech share."""
    first = first_iteration(config) if config.second else None
    made = unit_pretraining(
        Hubert(config.model, config.units.units, config.projection_width),
        config.units,
        config.masking,
        config.augmentation,
        rate=config.data.rate,
        normalise=config.normalise,
        teacher=first.config.model if first else None,
        vector_metrics=collapse_metrics,
    )

    def show(report: Report) -> None:
        warn_of_code_collapse(report)
        report_units(report, made.units, stride=made.speech.stride, utterances=config.probe_utterances)

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_wav2vec2(folder, "hubert", config.model, variables["params"])
        save_feature_extractor(folder, config.model, rate=config.data.rate, normalise=config.normalise)

    experiment = speech_experiment(
        config,
        made.speech,
        headline=("unit_loss", "accuracy", "predicted_perplexity"),
        pictures=show,
        export=export,
        units=made.units,
    )
    if first is None:
        return experiment
    start = first.start(lambda run: {"teacher": run.restore()["params"]["encoder"]})
    return experiment._replace(starts=(start,))


if __name__ == "__main__":
    main(PRESETS, build)
