"""AdaIN voice conversion: content and speaker apart, from speech without labels (Chou & Lee 2019, arXiv:1904.05742).

    python -m experiments.voice_conversion    # offline, synthesised sentences, minutes on 2 CPU cores
    python -m experiments.voice_conversion --data.source DIR --data.labels '{speaker}/{word}'     # wav or flac files
    python -m experiments.voice_conversion vctk --workdir runs/voices    # the settings of the authors
    python -m ssl_jax.convert runs/voice_conversion-synthesised source.wav target.wav out.wav

A content encoder with instance normalisation, a speaker encoder, and a decoder whose normalisation has the scale and
shift of the speaker code (AdaIN). No label is used in training. The report converts held-out utterances into the voices
of other held-out speakers; in the synthesised sentences, of words that were not trained on. The target is then known
exactly, as the synthesiser says the same take in the other voice; recordings of one text by two speakers are aligned
by dynamic time warping (`--pairs SOURCE:TARGET`, and `--unparallel_pairs` without any target). Beside conversions stand
the unconverted utterances, a shift of the mean and variance of each filter between the two speakers, and the target
from its own codes. Probes of log-mel spectra find the speaker and the phones; probes of the codes, the speaker. Of
recordings without phones, the report says how often the text is still found: of the target speaker's recordings of it
and of nine others of about that length, is it the nearest after alignment (by chance 10 %)? There are wav files
(Griffin-Lim) and spectra of some conversions of every evaluation in samples/.

The default (seed 0, 27 November 2026, 2 AMD cores that other programs used too; 177 CPU seconds with the report), 150
conversions between six speakers, whose words were not trained on either:

                                  log-mel error   distortion, dB   target voice, %   source voice, %   phones, %
    target                                0.000            0.000              83.3               3.3        62.1
    unconverted                           1.063            4.017               3.3              87.3        62.3
    mean and variance shifted             0.991            3.165              84.0               3.3        60.6
    converted                             1.190            4.173              68.0               8.0        49.6
    target from its own codes             0.676            2.690              60.7               9.3        59.0

The voice changes, but the simple shift is nearer to the target and keeps more of the phones. From its own codes the
target comes out better than a conversion; a speaker code of one sentence may also tell of its words, which has not been
measured. The size of the content code, 16 or 64, was chosen by this report, so the figures are not of a blind test.
Probes of the speaker are right in 70.2 % by the speaker code, and in 57.1 % by mean and mean square of the content code
(chance 16.7 %).

Recordings, telephone prompts of 8 kHz by two speakers of Italian and one of English (--data.labels '{speaker}/{word}'
--data.heldout words --data.heldout_share 0.2 --data.longest 3 --data.unusable skip --pairs it_carlo:it_menardi
it_menardi:it_carlo --unparallel_pairs en_allison:it_carlo; 28 November 2026, means of seeds 0 to 2, 2.5 minutes each).
The texts were not trained on; targets are the other speaker's recordings of them:

                                  distortion, dB   target voice, %   source voice, %   text, %
    it_carlo to it_menardi
    unconverted                             7.77               1.3              95.7      84.0
    mean and variance shifted               6.46              99.4               0.6      84.9
    converted                               6.91              95.8               1.2      57.7
    target from its own codes               3.32              93.6               3.2     100.0
    it_menardi to it_carlo
    unconverted                             7.75               1.4              95.9      83.1
    mean and variance shifted               8.06              87.7               8.1      85.9
    converted                               7.85              95.1               4.2      65.5
    target from its own codes               3.92              93.2               0.7     100.0
    en_allison to it_carlo
    mean and variance shifted                                 97.2               1.4
    converted                                                 94.9               2.2

So the voice changes, across languages too, and a part of the text is lost (53 to 80 % are found, by seed and direction)
that the shift keeps. The speaker is right in 96.4 % by the speaker code, and still in 85.0 % by the content code (the
most frequent one: 34.7 %).

vctk has the sizes and rates of the authors' code (jjery2243542/adaptive_voice_conversion). Differences: frames of 25 ms
every 10 ms, in place of 50 every 12.5; the weight decay is not part of the gradient; the ends of an utterance are
followed by zeros and not reflected. It has not been trained.

On TPUs: vctk on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field

from ssl_jax.cli import main
from ssl_jax.data.speech import SpeechConfig
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.voice_conversion import LossConfig, voice_conversion
from ssl_jax.models.voice_conversion import VoiceConfig
from ssl_jax.recipes.voices import VoiceRunConfig, voice_experiment
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation


@dataclass(frozen=True)
class Config(VoiceRunConfig):
    """An autoencoder whose code is in two parts."""

    network: VoiceConfig = field(default_factory=VoiceConfig)
    loss: LossConfig = field(default_factory=LossConfig)


PRESETS = {
    "synthesised": Config(
        steps=1_800,
        data=SpeechConfig(source="synthesised_sentences", longest=2.6, heldout="both"),
        augmentation=WaveformAugmentation(segment=1.295),
        network=VoiceConfig(
            width=64, bank=4, blocks=4, halvings=2, dense_blocks=2, content_size=64, speaker_size=32
        ),
        loss=LossConfig(kl_warmup_steps=500),
        optimizer=OptimizerConfig(name="adamw", weight_decay=1e-4, clip_norm=5.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=50, decay="cosine"),
        train=TrainConfig(batch_size=8, eval_every=500, save_every=500, keep_every=500),
    ),
    "vctk": Config(
        steps=500_000,
        data=SpeechConfig(
            source="tfds:vctk", rate=24_000, longest=6.0, shortest=1.3, heldout="both", heldout_share=0.18
        ),
        features=FeatureConfig(mels=512),
        augmentation=WaveformAugmentation(segment=1.295),
        optimizer=OptimizerConfig(name="amsgrad", weight_decay=1e-4, clip_norm=5.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=5e-4, warmup_steps=0, decay="constant"),
        train=TrainConfig(
            batch_size=128, log_every=100, eval_every=10_000, save_every=5_000, keep_every=100_000
        ),
    ),
}


def build(config: Config) -> Experiment:
    """The networks and their error, and everything that experiments of voice conversion share."""
    voices = voice_conversion(
        config.network,
        config.features,
        config.augmentation,
        config.loss,
        rate=config.data.rate,
        vector_metrics=collapse_metrics,
    )
    return voice_experiment(
        config, voices, headline=("reconstruction_loss", "kl_loss", "error", "effective_rank")
    )


if __name__ == "__main__":
    main(PRESETS, build)
