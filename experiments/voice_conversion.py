"""AdaIN voice conversion: content and speaker apart, from speech without labels (Chou & Lee 2019, arXiv:1904.05742).

python -m experiments.voice_conversion    # offline, synthesised words, minutes on 2 CPU cores
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
from ssl_jax.transforms.waveforms import WaveformAugmentation


@dataclass(frozen=True)
class Config(VoiceRunConfig):
    """An autoencoder whose code is in two parts."""

    network: VoiceConfig = field(default_factory=VoiceConfig)
    loss: LossConfig = field(default_factory=LossConfig)


PRESETS = {
    "synthesised": Config(
        steps=1_500,
        data=SpeechConfig(source="synthesised_sentences", longest=2.6, heldout="both"),
        augmentation=WaveformAugmentation(segment=1.295),
        network=VoiceConfig(
            width=64, bank=4, blocks=4, halvings=2, dense_blocks=2, content_size=16, speaker_size=32
        ),
        loss=LossConfig(kl_warmup_steps=500),
        optimizer=OptimizerConfig(name="adamw", weight_decay=1e-4, clip_norm=5.0, epsilon=1e-8),
        schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=50, decay="cosine"),
        train=TrainConfig(batch_size=8, eval_every=500, save_every=500, keep_every=500),
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
