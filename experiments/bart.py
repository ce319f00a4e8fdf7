"""BART: an encoder reads a corrupted text, a decoder reconstructs the original (Lewis et al. 2019, arXiv:1910.13461).

    python -m experiments.bart                             # offline, minutes on 2 CPU cores
    python -m experiments.bart large --workdir gs://...    # the paper's settings, for a TPU pod
    python -m experiments.bart_noises                      # every noise at equal steps: the paper's table 1 in small

Results of the default preset on held-out documents, seed 0. With teacher forcing, 70.2 % of the next tokens are
predicted correctly (bigram baseline 20.6 %). With greedy decoding, 16.1 % of the hidden tokens are recovered (baseline
from the two neighbours 6.9 %; the 20 most frequent tokens repeated, whatever the text, 11.4 %). Counted in edits, what
the model writes is 33 % farther from the original than the corrupted text without its blanks is; to fill in by the
neighbours brings it 1 % nearer, and the frequent tokens 117 % farther.

Text is folded to lower case, unlike that of experiments.gpt2; --data.lowercase False keeps it.

`--model.position_encoding relative --model.relative_distance 64` gives the model relative positions (T5,
arXiv:1910.10683) in place of learned ones, `--model.position_encoding rotary` rotary ones (RoFormer, arXiv:2104.09864),
with which the default predicts 68.8 and 70.0 % of the next tokens (seeds 0 and 1; 70.2 and 69.6 % with learned ones).
Hugging Face's BART has neither.

The noises can be combined in any strength: `--noise.permutation 0 --noise.masking 0.15`. The small preset trains on
the documentation inside the installed Python packages. The others need `tfds:wikipedia/20230601.en` prepared as
ArrayRecord (README.md, "Your own data"); the paper's large model was trained on 160 GB of news, books, stories and web
text.

Steps and sizes are the paper's, and of large the batch, the noise, and that its last tenth has no dropout (section
5.1). Optimiser, rate and warm-up are not stated there. Those of large are RoBERTa-large's, which has the same batch
(arXiv:1907.11692, table 9); those of base are what RoBERTa's code recommends for batches of 256 (facebookresearch/
fairseq, examples/roberta: README.pretraining.md and config/pretraining/base.yaml). The paper's results: base after a
million steps, SQuAD 1.1 F1 90.8 by infilling with or without shuffled sentences (table 1); large after 500,000, SQuAD
1.1 exact match 88.8 and F1 94.6; ROUGE 44.16, 21.28 and 40.90 on CNN/DailyMail and 45.14, 22.27 and 37.25 on XSum
(tables 2 and 3).

On TPUs: base on v5e:4x4; large on v5p:4x4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.decoding.decoder import source_decoder
from ssl_jax.hub.bart import load_bart, save_bart
from ssl_jax.hub.tokenizer_files import save_tokenizer, token_ids
from ssl_jax.method import Batch
from ssl_jax.models.encoder_decoder import SIZES, EncoderDecoder
from ssl_jax.recipes.denoising import WIKIPEDIA, DenoisingConfig, denoising_experiment
from ssl_jax.reports.text_denoising import Denoiser
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.inverses import whole_text
from ssl_jax.transforms.noise import NoiseConfig, noise_batch


@dataclass(frozen=True)
class Config(DenoisingConfig):
    """BART's pretraining."""

    noise: NoiseConfig = field(default_factory=NoiseConfig)


BASE = Config(
    steps=1_000_000,
    length=512,
    data=WIKIPEDIA,
    model=replace(SIZES["base"], dtype="bfloat16"),
    optimizer=OptimizerConfig(beta2=0.98, clip_norm=0.0),
    schedule=ScheduleConfig(learning_rate=1e-4, warmup_steps=10_000),
    train=TrainConfig(
        batch_size=256,
        log_every=100,
        eval_every=10_000,
        save_every=10_000,
        keep_every=50_000,
    ),
)

PRESETS = {
    "tiny": Config(steps=2400, train=TrainConfig(batch_size=16)),
    "base": BASE,
    "large": replace(
        BASE,
        steps=500_000,
        share_without_dropout=0.1,
        model=replace(SIZES["large"], dtype="bfloat16"),
        schedule=ScheduleConfig(learning_rate=4e-4, warmup_steps=30_000),
        train=replace(BASE.train, batch_size=8000, micro_batches=5),
        mesh=MeshConfig(fsdp=4),
    ),
}


def build(config: Config) -> Experiment:
    """Noise of the configuration; the target is the whole text, and the decoder starts with [EOS]."""
    special = config.data.special_with_mask

    def noise(rng: jax.Array, batch: Batch) -> Denoising:
        return noise_batch(
            rng,
            batch["tokens"],
            batch["present"],
            batch["words"],
            batch["sentences"],
            config=config.noise,
            mask_id=special.mask,
            pad_id=special.pad,
            start_id=special.sep,
        )

    denoiser = Denoiser(
        noise=noise,
        decoder=source_decoder(EncoderDecoder(config.model), special.sep, (special.mask,)),
        inverse=whole_text,
        names={special.mask: "[MASK]"},
    )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_bart(folder, config.model, variables["params"], token_ids(tokenizer, decoder_start=special.sep))
        save_tokenizer(folder, tokenizer, config.model.positions, form="text")

    return denoising_experiment(
        config, noise, denoiser, import_weights=lambda path: load_bart(path)[1], export=export
    )


if __name__ == "__main__":
    main(PRESETS, build)
