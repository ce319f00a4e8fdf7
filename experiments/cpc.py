"""CPC: future frames of speech are told from others (van den Oord et al. 2018, arXiv:1807.03748).

    python -m experiments.cpc                                # offline, synthesised words, minutes on 2 CPU cores
    python -m experiments.cpc --data.source DIR --data.labels '{word}_{speaker}_{}'    # wav or flac files
    python -m experiments.cpc librispeech --workdir runs/cpc      # the paper's sizes

Convolutions make a frame of every 10 ms; from a recurrent state, each of the next 12 frames is told from 128 other
frames of the same utterance. The report probes the convolutions and the recurrent layer for phones, words and speakers,
beside the log-mel spectrum and the untrained network.

Linear probes on held-out speakers of the synthesised words, accuracy in % (default, seed 0, 28 November 2026, 2 AMD
cores that other programs used too; phones without silence, the speakers' probe on words that it was not fitted to):

                              phone   word   10 labels a word   speaker
    log-mel                    57.4   91.1               87.6      57.8
    log-mel, per utterance     48.0   88.8               86.7      35.0
    untrained, recurrent       13.1   13.6               12.0      26.9
    convolutions               43.0   88.6               84.8      33.3
    recurrent                  48.3   88.8               85.1      31.4

The network starts with random filters of the waveform, and after 600 steps its frames still tell less than the
spectrum. Among 33 candidates, 23.2 % of the true frames of held-out utterances are found, 1 to 12 frames ahead (by
chance 3.0 %).

Recorded digits, each of six speakers held out in turn (as in experiments.apc; 600 steps, 10 labels a word): the
convolutions name 27.0 ± 2.9 % of the words, the untrained network 30.2 ± 6.6, log-mel 59.5 ± 12.7; of recordings that
were held out instead, 53.6, 33.1 and 80.6 %. So what is learnt of five speakers is of these speakers: the true frame
is found among 33 in 24.9 % of the cases in training, and in 10.5 % of those of an unseen speaker (theo).

librispeech has the sizes of the paper's section 3.1 and of facebookresearch/CPC_audio, whose channels are normalised in
each frame. The convolutions have no padding, so that padding changes nothing: 20,480 samples give 126 frames, not 128.
Negatives are of the utterance itself, and never the positive. It has not been trained. In the paper, linear probes
reach 64.6 % (phones) and 97.4 % (speakers) on its splits of LibriSpeech.

On TPUs: librispeech on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field

from ssl_jax.cli import main
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.cpc import Cpc, FutureConfig, future_prediction
from ssl_jax.models.wav2vec import FeatureEncoderConfig
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation


def network(width: int, kernels: tuple[int, ...], strides: tuple[int, ...]) -> FeatureEncoderConfig:
    """Convolutions whose channels are normalised in each frame."""
    return FeatureEncoderConfig(
        conv_width=width,
        kernels=kernels,
        strides=strides,
        conv_norm="layer",
        conv_bias=True,
        conv_activation="relu",
    )


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """Contrastive predictive coding."""

    network: FeatureEncoderConfig = field(
        default_factory=lambda: network(256, (10, 8, 4, 4, 4), (5, 4, 2, 2, 2))
    )
    future: FutureConfig = field(default_factory=FutureConfig)


PRESETS = {
    "synthesised": Config(
        **SYNTHESISED,
        network=network(96, (10, 8, 4, 4), (5, 4, 2, 2)),
        future=FutureConfig(negatives=32),
    ),
    "librispeech": Config(
        **LIBRISPEECH,
        steps=300_000,
        augmentation=WaveformAugmentation(segment=1.28),
        optimizer=OptimizerConfig(name="adamw", weight_decay=0.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=2e-4, warmup_steps=0, decay="constant"),
        train=TrainConfig(
            batch_size=64, log_every=100, eval_every=10_000, save_every=5_000, keep_every=100_000
        ),
    ),
}


def build(config: Config) -> Experiment:
    """The network and its objective, and everything that experiments on speech share."""
    method = future_prediction(
        Cpc(config.network, config.future.steps),
        config.future,
        config.augmentation,
        rate=config.data.rate,
        vector_metrics=collapse_metrics,
    )
    return speech_experiment(config, method, headline=("future_loss", "accuracy", "effective_rank"))


if __name__ == "__main__":
    main(PRESETS, build)
