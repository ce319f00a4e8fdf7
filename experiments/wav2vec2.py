"""wav2vec 2.0: masked frames of the waveform are told from others (Baevski et al. 2020, arXiv:2006.11477).

    python -m experiments.wav2vec2                           # offline, synthesised words, minutes on 2 CPU cores
    python -m experiments.wav2vec2 --data.source DIR --data.labels '{word}_{speaker}_{}'    # wav or flac files
    python -m experiments.wav2vec2 base --workdir runs/wav2vec2   # the paper's base model on LibriSpeech, or large

Convolutions make a frame of every 20 ms; spans of frames are masked, and the transformer tells the quantised frame of
each masked place from those of 100 other masked places of its utterance. The report probes every layer for phones,
words and speakers, beside the log-mel spectrum and the untrained network. `code_perplexity` says how many codes are in
use; the log warns where they have collapsed.

Linear probes on held-out speakers of the synthesised words, accuracy in % (default, seed 0, 28 November 2026, 2 AMD
cores that other programs used too; phones without silence, the speakers' probe on words that it was not fitted to):

                              phone   word   10 labels a word   speaker
    log-mel                    55.9   89.3               85.7      57.8
    log-mel, per utterance     47.2   85.8               82.5      30.6
    untrained, last layer      19.6   30.0               22.8      26.4
    layer 1                    34.0   68.3               63.4      23.6
    layer 2                    31.8   68.6               63.0      24.4
    layer 3                    29.8   66.1               61.5      24.7

The network starts with random filters of the waveform; after 600 steps its frames tell far more of phones and words
than at the start, and less than the spectrum. 52.8 % of the masked frames of held-out utterances are found among 21
candidates (chance 4.8 %); the perplexity of the two codebooks of 40 codes is 34 in all.

Recorded digits, each of six speakers held out in turn (as in experiments.apc; 600 steps, 10 labels a word): layer 1
names 34.5 ± 8.3 % of the words, log-mel 59.5 ± 12.8, the untrained network 23.9 ± 3.5; of recordings that were held out
instead, 46.8, 81.1 and 26.6 %.

The presets for pods differ from fairseq's in three things: no layer is dropped; rows are random segments of a fixed
length, so that a batch has a fixed number of rows; and the group normalisation leaves padding out. They have not been
trained.

On TPUs: base on v5e:8x8; large on v5p:4x4x2 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

from ssl_jax.cli import main
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.hub.wav2vec2 import save_feature_extractor, save_wav2vec2
from ssl_jax.methods.wav2vec2 import ContrastConfig, masked_contrastive
from ssl_jax.models.wav2vec import GumbelConfig, Wav2Vec2, WavConfig
from ssl_jax.recipes.speech import LIBRISPEECH, SYNTHESISED, SpeechRunConfig, speech_experiment
from ssl_jax.reports.speech_codes import warn_of_code_collapse
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.span_masks import SpanMaskConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation


@dataclass(frozen=True)
class Config(SpeechRunConfig):
    """wav2vec 2.0."""

    model: WavConfig = field(default_factory=WavConfig)
    quantizer: GumbelConfig = field(default_factory=GumbelConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    masking: SpanMaskConfig = field(default_factory=SpanMaskConfig)
    normalise: bool = False
    """Whether each waveform gets mean 0 and variance 1 (large)."""


SMALL = WavConfig(
    conv_width=64,
    kernels=(10, 3, 3, 3, 3, 2),
    strides=(5, 2, 2, 2, 2, 2),
    layers=3,
    width=128,
    heads=4,
    mlp_width=512,
    positional_kernel=16,
    positional_groups=4,
    dropout=0.0,
    attention_dropout=0.0,
    feature_dropout=0.0,
)
"""A frame of every 20 ms at 8 kHz."""

BASE = Config(
    **LIBRISPEECH,
    steps=400_000,
    model=WavConfig(dtype="bfloat16"),
    augmentation=WaveformAugmentation(segment=15.0),
    optimizer=OptimizerConfig(name="adamw", beta2=0.98, epsilon=1e-6, weight_decay=0.01),
    schedule=ScheduleConfig(learning_rate=5e-4, warmup_steps=32_000, decay="linear"),
    train=TrainConfig(batch_size=384, log_every=100, eval_every=10_000, save_every=2_000, keep_every=100_000),
)
"""The paper's section 4.2: 1.6 hours of audio in a batch, here 384 segments of 15 seconds; 400,000 steps, a warm-up of
8 %. The rest: facebookresearch/fairseq, wav2vec2_base_librispeech.yaml."""

PRESETS = {
    "synthesised": Config(
        **SYNTHESISED,
        model=SMALL,
        quantizer=GumbelConfig(codes=40, code_width=64, projection_width=64),
        contrast=ContrastConfig(negatives=20, temperature_decay=0.998),
        masking=SpanMaskConfig(start_probability=0.08, span=4),
        normalise=True,
    ),
    "base": BASE,
    # 250,000 steps, and 3e-4: the paper's section 4.2 on LibriSpeech; the rest: wav2vec2_large_librivox.yaml.
    "large": replace(
        BASE,
        steps=250_000,
        augmentation=WaveformAugmentation(segment=20.0),
        data=replace(BASE.data, longest=20.0),
        model=WavConfig(
            conv_norm="layer",
            conv_bias=True,
            layers=24,
            width=1024,
            heads=16,
            mlp_width=4096,
            norm="pre",
            dropout=0.0,
            attention_dropout=0.0,
            feature_dropout=0.0,
            feature_gradient=1.0,
            dtype="bfloat16",
            remat="full",
        ),
        quantizer=GumbelConfig(code_width=768, projection_width=768),
        contrast=ContrastConfig(last_temperature=0.1, penalty=0.0),
        normalise=True,
        schedule=replace(BASE.schedule, learning_rate=3e-4, warmup_steps=20_000),
        train=replace(BASE.train, batch_size=480),
    ),
}


def build(config: Config) -> Experiment:
    """The model and its objective, and everything that experiments on speech share."""
    method = masked_contrastive(
        Wav2Vec2(config.model, config.quantizer),
        config.contrast,
        config.masking,
        config.augmentation,
        rate=config.data.rate,
        normalise=config.normalise,
        vector_metrics=collapse_metrics,
    )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_wav2vec2(folder, "wav2vec2", config.model, variables["params"], config.quantizer)
        save_feature_extractor(folder, config.model, rate=config.data.rate, normalise=config.normalise)

    return speech_experiment(
        config,
        method,
        headline=("contrastive_loss", "accuracy", "code_perplexity"),
        pictures=lambda report: warn_of_code_collapse(report, config.quantizer.groups),
        export=export,
    )


if __name__ == "__main__":
    main(PRESETS, build)
