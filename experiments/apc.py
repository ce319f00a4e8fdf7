"""APC: recurrent layers predict a frame of speech some steps ahead (Chung et al. 2019, arXiv:1904.03240).

    python -m experiments.apc                                # offline, synthesised words, minutes on 2 CPU cores
    python -m experiments.apc --data.source DIR --data.labels '{word}_{speaker}_{}'    # a folder of wav or flac files
    python -m experiments.apc --codes 128                    # VQ-APC (arXiv:2005.08392): through discrete codes
    python -m experiments.apc librispeech --workdir runs/apc      # 3 layers of 512 units

The frame `ahead` steps later is predicted from all frames so far; the absolute error counts pairs of true frames alone.
The report probes every layer for phones, words and speakers, beside the log-mel spectrum and the untrained network.
With --codes, a layer is quantised by Gumbel-softmax with the settings of the released code (iamyuanchung/VQ-APC), and
the report compares the codes with phones; no result with codes has been measured yet.

Linear probes on held-out speakers of the synthesised words, accuracy in % (default, seed 0, 27 November 2026, 2 AMD
cores that other programs used too; phones without silence, the speakers' probe on words that it was not fitted to):

                              phone   word   10 labels a word   speaker
    log-mel                    57.4   91.1               87.6      57.8
    log-mel, per utterance     48.0   88.8               86.7      35.0
    untrained, last layer      63.7   94.9               90.6      54.4
    layer 1                    67.8   96.7               94.1      55.3
    layer 2                    70.1   97.2               95.0      51.9
    layer 3                    70.7   97.2               94.0      52.8

The held-out error of a prediction is 0.510, that of the current frame in its place 0.709.

Recordings: of the Free Spoken Digit Dataset (3,000 of six speakers, --data.labels '{word}_{speaker}_{}', 600 steps),
with each speaker held out in turn (--data.heldout_speakers NAME, seeds 0 to 5, 28 November 2026), layer 2 names 68.2 ±
11.9 % of the unseen speaker's words by 10 labels a word, log-mel 59.5 ± 12.7; it is better for each of the six, by 8.7
± 3.7 points. By 1,000 labels 74.5 ± 11.3 and 66.3 ± 21.1, better for five. With a quarter of the recordings held out
instead: words 97.2 and 93.6 %, speakers 91.5 and 73.1 %. BUILD_NOTES.md has the table of all methods.

Phones of three voices of flite (benchmarks/flite_speech.py, seed 0), with a quarter of the recordings held out
(--data.heldout utterances): layer 3 names 69.8 %, log-mel 49.4, the untrained network 63.7. Of the voice slt, with awb
and rms to train on, all of these name 22.5 to 23.9 %: two voices are too few for a third.

librispeech trains for 100 epochs of the 104,014 utterances of train-clean-360 with the settings of the released code
(iamyuanchung/Autoregressive-Predictive-Coding, train_apc.py), 5 steps ahead. It has not been trained.

On TPUs: librispeech on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field
from typing import Annotated

from ssl_jax.cli import main
from ssl_jax.domains import Dtype, Layers, Settings, Temperature, Width, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.apc import predictive_coding, predictive_units
from ssl_jax.models.gru import PredictiveGru
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.reports.speech_codes import report_units, warn_of_code_collapse
from ssl_jax.training.experiment import Experiment, Report, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class GruConfig(Settings):
    """The recurrent layers."""

    layers: Layers = 3
    """Number of layers."""
    width: Width = 512
    """Units of each."""
    dtype: Dtype = "float32"
    """Of the computation; parameters are float32."""


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """Autoregressive predictive coding."""

    ahead: Annotated[int, integers(1, 1_000)] = 5
    """How many frames of 10 ms after the current one the predicted frame is."""
    network: GruConfig = field(default_factory=GruConfig)
    codes: Annotated[int, integers(0, 2**20)] = 0
    """Codes of a codebook that a layer is quantised with; 0 for none."""
    quantized_layer: Layers = 3
    """Number of that layer, from 1."""
    temperature: Temperature = 0.5
    """Of the Gumbel-softmax that draws codes in training."""

    def check_relations(self) -> None:
        super().check_relations()
        if self.ahead >= self.data.frames:
            raise UserError(
                f"ahead {self.ahead}: a row has {self.data.frames} frames; expected fewer steps ahead than that."
            )
        if self.codes and self.quantized_layer > self.network.layers:
            raise UserError(
                f"quantized_layer {self.quantized_layer}: the network has {self.network.layers} layers."
            )


PRESETS = {
    "synthesised": Config(**SYNTHESISED, network=GruConfig(layers=3, width=128)),
    "librispeech": Config(
        **LIBRISPEECH,
        steps=325_000,
        optimizer=OptimizerConfig(name="adamw", weight_decay=0.0, clip_norm=1.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=1e-4, warmup_steps=0, decay="constant"),
        train=TrainConfig(
            batch_size=32, log_every=100, eval_every=3_250, save_every=3_250, keep_every=32_500
        ),
    ),
}


def build(config: Config) -> Experiment:
    """The network and the error of its predictions, and everything that experiments on speech share."""
    network = PredictiveGru(
        config.network.layers,
        config.network.width,
        config.features.width,
        config.network.dtype,
        config.codes,
        config.quantized_layer,
    )
    method = predictive_coding(
        network,
        config.features,
        config.augmentation,
        rate=config.data.rate,
        ahead=config.ahead,
        temperature=config.temperature,
        vector_metrics=collapse_metrics,
    )
    headline = "prediction_loss", "copy_error", "effective_rank"
    if not config.codes:
        return speech_experiment(config, method, headline=headline)
    units = predictive_units(network, config.features, rate=config.data.rate)

    def show(report: Report) -> None:
        warn_of_code_collapse(report)
        report_units(report, units, stride=1, utterances=config.probe_utterances)

    return speech_experiment(config, method, headline=(*headline, "code_perplexity"), pictures=show)


if __name__ == "__main__":
    main(PRESETS, build)
