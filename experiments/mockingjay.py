"""Mockingjay: masked frames of speech are reconstructed from both sides (Liu et al. 2019, arXiv:1910.12638).

    python -m experiments.mockingjay                                # offline, synthesised words, minutes on 2 CPU cores
    python -m experiments.mockingjay --data.source DIR --data.labels '{word}_{speaker}_{}'    # wav or flac files
    python -m experiments.mockingjay --masks.filters 8 --masks.noise 0.1 --masks.everywhere True    # as TERA does
    python -m experiments.mockingjay librispeech --workdir runs/mockingjay      # the paper's base: 3 layers of 768

Runs of 7 frames, 15 % of all, are set to zero, replaced by other frames or kept (80, 10, 10 % of the utterances); the
absolute error counts the masked frames alone. Lengths come from the audio, so padding is neither attended to nor
counted. The report probes every layer for phones, words and speakers, beside the log-mel spectrum and the untrained
network, and draws masked utterances with their reconstructions.

Linear probes on held-out speakers of the synthesised words, accuracy in % (default, seed 0, 28 November 2026, 2 AMD
cores that other programs used too; phones without silence, the speakers' probe on words that it was not fitted to):

                              phone   word   10 labels a word   speaker
    log-mel                    57.4   91.1               87.6      57.8
    log-mel, per utterance     48.0   88.8               86.7      35.0
    untrained, last layer      61.9   88.9               82.9      51.7
    layer 1                    58.0   90.3               84.0      39.4
    layer 2                    53.9   90.3               85.3      34.2

So after these 600 steps, frames tell less of phones and speakers than those of the untrained network, and whole words a
little more. The held-out error of masked frames is 0.482, that of the mean frame in their place 0.809.

Recorded digits, each of six speakers held out in turn (as in experiments.apc; 600 steps, 10 labels a word): layer 2
names 52.1 ± 9.7 % of the words, the untrained network 57.0 ± 10.5, log-mel 59.5 ± 12.7; of recordings that were held
out instead, 72.4, 77.2 and 80.6 %.

librispeech has the size of the paper's base model, and the schedule of s3prl (pretrain/mockingjay/config_runner.yaml):
1,000,000 steps of 32 utterances, a rate of 2e-4 with a warm-up over 7 %. Differences: 80 log-mel filters without
differences in time, and frames are not joined by threes. It has not been trained. TERA (arXiv:2007.06028) also hides
filters, adds noise, and counts the error of all frames.

On TPUs: librispeech on v5e:2x2 (docs/planning.md).
"""

from dataclasses import dataclass, field

from ssl_jax.cli import main
from ssl_jax.errors import UserError
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.mockingjay import MaskConfig, masked_reconstruction
from ssl_jax.models.speech_transformer import SpeechTransformer, layers_of
from ssl_jax.models.transformer import TransformerConfig
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.reports.masked_speech import draw_reconstructions
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """Masked reconstruction."""

    masks: MaskConfig = field(default_factory=MaskConfig)
    network: TransformerConfig = field(default_factory=lambda: layers_of(3, 768))

    def check_relations(self) -> None:
        super().check_relations()
        if self.network.causal or self.network.cross_attention:
            raise UserError(
                "network: reconstructs from both sides; causal and cross_attention must be False."
            )


PRESETS = {
    "synthesised": Config(**SYNTHESISED, network=layers_of(2, 128, dropout=0.1, attention_dropout=0.1)),
    "librispeech": Config(
        **LIBRISPEECH,
        steps=1_000_000,
        network=layers_of(3, 768, heads=12, mlp_width=3072, dtype="bfloat16"),
        optimizer=OptimizerConfig(name="adamw", weight_decay=0.01, clip_norm=5.0),
        schedule=ScheduleConfig(learning_rate=2e-4, warmup_steps=70_000, decay="linear"),
        train=TrainConfig(
            batch_size=32, log_every=100, eval_every=5_000, save_every=5_000, keep_every=50_000
        ),
    ),
}


def build(config: Config) -> Experiment:
    """The network and the error of its reconstructions, and everything that experiments on speech share."""
    mockingjay = masked_reconstruction(
        SpeechTransformer(config.network, config.features.width),
        config.features,
        config.augmentation,
        config.masks,
        rate=config.data.rate,
        vector_metrics=collapse_metrics,
    )
    width = config.features.width // (1 + config.features.deltas)
    return speech_experiment(
        config,
        mockingjay.speech,
        headline=("reconstruction_loss", "zero_error", "effective_rank"),
        pictures=lambda report: draw_reconstructions(report, mockingjay.show, width),
    )


if __name__ == "__main__":
    main(PRESETS, build)
