"""Discrete units of speech: a VQ-VAE whose decoder is told the speaker (Chorowski et al. 2019, arXiv:1901.08810).

    python -m experiments.speech_units                       # offline, synthesised words, minutes on 2 CPU cores
    python -m experiments.speech_units --speaker_in_decoder False    # then the units have to carry the speaker, too
    python -m experiments.speech_units --data.source DIR --data.labels '{word}_{speaker}_{}'    # wav or flac files
    python -m experiments.speech_units librispeech --workdir runs/speech_units

Convolutions make 50 units a second, each one of a codebook that moving averages update (arXiv:1711.00937); a decoder
makes the log-mel spectrum from the units and the speaker. samples/ has held-out utterances and their reconstructions as
wav files, both through Griffin-Lim. The report says what the units cost in bits a second, which phones they stand for
(unit_phones.txt and plots/unit_phones.png) and how well the speaker can be told from them, beside as many clusters of
log-mel frames and of an untrained encoder.

Held-out speakers of the synthesised words (seed 0, 27 November 2026, 2 AMD cores that other programs used too). All
have 64 units, 50 a second, about 295 bits a second by their frequencies. Purity and NMI are of phones with silence;
`word` and `speaker` are linear probes of the vectors (1,000 utterances to fit); all but the error in %:

                                            purity    NMI   word   speaker   error
    default                                   51.0   36.0   79.3      29.4   0.184
    --speaker_in_decoder False                50.7   36.3   81.7      34.2   0.171
    --features.normalise utterance            50.4   37.6   84.9      22.5   0.347
    clusters of log-mel                       54.2   39.2
    clusters of log-mel, per utterance        51.0   38.6
    clusters of an untrained encoder          42.8   27.9

So the units are no purer than clusters of log-mel frames; a decoder that is told the speaker, and an input without the
mean of the utterance, take the speaker out of them. The error is the `reconstruction_loss` of speakers whose voices the
decoder does not know. One seed; the EMA decay and the network of the default were chosen by looking at these speakers.

Recorded digits, each of six speakers held out in turn (as in experiments.apc; 600 steps, 10 labels a word): the units
name 46.0 ± 9.1 % of the words, the encoder before them 51.7 ± 10.4, log-mel 59.5 ± 12.8; of recordings that were held
out instead, 71.0, 76.5 and 81.1 %, and of their speakers 58.5, 60.6 and 73.1 %.

librispeech has the paper's input (13 MFCC with differences, segments of 0.32 seconds, 50 units a second), and the
widths and the jitter that swasun/VQ-VAE-Speech gives for it; 512 codes, rate and steps are bshall/ZeroSpeech's. What
differs: the decoder makes log-mel frames by convolutions, and not the waveform by a WaveNet or an RNN; the encoder has
no dense layers, and its vectors are normalised before the last map; the codebook begins with k-means and replaces codes
that are not used; the rate stays constant. It has not been trained.

On TPUs: librispeech on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field

from ssl_jax.cli import main
from ssl_jax.domains import NonNegativeFloat, PositiveInt, Probability
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.quantization import ema_quantizer
from ssl_jax.methods.speech_units import unit_discovery
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.models.unit_autoencoder import UnitNetworkConfig
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.reports.speech_units import UnitReport
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """A VQ-VAE on speech."""

    network: UnitNetworkConfig = field(default_factory=UnitNetworkConfig)
    codebook: CodebookConfig = field(default_factory=CodebookConfig)
    commitment: NonNegativeFloat = 0.25
    """Weight of the distance of the encoder's vectors to their units, the paper's gamma."""
    jitter: Probability = 0.12
    """Probability that a unit is replaced by one of its neighbours in training (section III-C)."""
    speaker_in_decoder: bool = True
    """Whether the decoder is told the speaker, so that the units need not carry it."""
    speakers: PositiveInt = 64
    """Most speakers of the data, held-out ones included."""


PRESETS = {
    "synthesised": Config(
        **SYNTHESISED,
        network=UnitNetworkConfig(width=96),
        codebook=CodebookConfig(codes=64, width=32, decay=0.9),
    ),
    "librispeech": Config(
        **LIBRISPEECH | {"features": FeatureConfig(kind="mfcc", mels=80, cepstra=13, deltas=2)},
        steps=500_000,
        codebook=CodebookConfig(codes=512, width=64),
        augmentation=WaveformAugmentation(segment=0.32),
        speakers=1_024,
        optimizer=OptimizerConfig(name="adamw", weight_decay=0.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=4e-4, warmup_steps=0, decay="constant"),
        train=TrainConfig(
            batch_size=64, log_every=100, eval_every=10_000, save_every=10_000, keep_every=100_000
        ),
    ),
}


def build(config: Config) -> Experiment:
    """Encoder, codebook and decoder, and everything that experiments on speech share."""
    made = unit_discovery(
        config.network,
        ema_quantizer(config.codebook, config.commitment),
        config.features,
        config.augmentation,
        rate=config.data.rate,
        speakers=config.speakers if config.speaker_in_decoder else 0,
        jitter_probability=config.jitter,
        vector_metrics=collapse_metrics,
    )
    shown = UnitReport(
        made, config.data.rate, config.features.mels, config.probe_utterances, config.train.seed
    )
    return speech_experiment(
        config,
        made.speech,
        headline=("reconstruction_loss", "code_perplexity", "effective_rank"),
        pictures=shown.report,
        speakers=config.speakers,
        sample=shown.sample,
        units=made.units,
    )


if __name__ == "__main__":
    main(PRESETS, build)
