"""MASS: an encoder reads a masked text, a decoder predicts the masked fragment (Song et al. 2019, arXiv:1905.02450).

    python -m experiments.mass                             # offline, minutes on 2 CPU cores
    python -m experiments.mass base --workdir gs://...     # the paper's model, for a TPU pod

One contiguous half of each row is masked. The decoder reads the tokens of the fragment at their original positions, and
its cross-attention skips the masks. Results of the default preset on held-out documents, seed 0: with teacher forcing,
22.4 % of the fragments' tokens are predicted correctly (bigram baseline 15.9 %); with greedy decoding, 12.3 % of the
hidden tokens are recovered (baseline from the two neighbours 10.8 %; the 20 most frequent tokens repeated, whatever
the text, 10.3 %). Counted in edits, 4.4 % of the corruption is undone (by the neighbours 9.3 %; the frequent tokens are
94 % farther from the original). Text is folded to lower case; --data.lowercase False keeps it.

`--model.position_encoding relative --model.relative_distance 64` gives the model relative positions (T5,
arXiv:1910.10683) in place of learned ones, `--model.position_encoding rotary` rotary ones (RoFormer, arXiv:2104.09864),
with which the default predicts 23.0 % of the fragments' tokens (seed 0). With both, the decoder knows the place of the
fragment from the token before it alone.

`--noise.share` is the paper's k: with a single token the objective is nearly BERT's, with the whole row nearly GPT's.
The small preset trains on the documentation inside the installed Python packages, base on `tfds:wikipedia/20230601.en`
(README.md, "Your own data"). Optimiser, rate, dropout and fragment of base are those of github.com/microsoft/MASS
(README.md, MASS-unsupNMT/src/utils.py); rows of 256 tokens of documents and batches of 256 of them are not: the authors
train on single sentences of WMT's News Crawl in two languages, 3,000 tokens on each GPU. Their model after fine-tuning:
37.5 BLEU on unsupervised translation from English to French (newstest2014, table 2 of the paper).

On TPUs: base on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

import jax

from ssl_jax.cli import main
from ssl_jax.decoding.fragment import fragment_decoder
from ssl_jax.hub.bart import load_bart, save_bart
from ssl_jax.hub.tokenizer_files import save_tokenizer, token_ids
from ssl_jax.method import Batch
from ssl_jax.methods.denoising import Noise
from ssl_jax.models.encoder_decoder import SIZES, EncoderDecoder
from ssl_jax.recipes.denoising import WIKIPEDIA, DenoisingConfig, denoising_experiment
from ssl_jax.reports.text_denoising import Denoiser
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.inverses import filled_fragment
from ssl_jax.transforms.mass import FragmentConfig, mask_fragment_batch


@dataclass(frozen=True)
class Config(DenoisingConfig):
    """MASS pretraining."""

    noise: FragmentConfig = field(default_factory=FragmentConfig)


BASE = Config(
    steps=500_000,
    length=256,
    data=WIKIPEDIA,
    # 1,024 wide with six layers a side, as in github.com/microsoft/MASS, which normalises after each block.
    model=replace(
        SIZES["base"],
        vocab_size=60_000,
        width=1024,
        heads=8,
        mlp_width=4096,
        positions=256,
        dtype="bfloat16",
    ),
    optimizer=OptimizerConfig(beta2=0.98, epsilon=1e-8, weight_decay=0.0, clip_norm=5.0),
    schedule=ScheduleConfig(learning_rate=1e-4, warmup_steps=4_000, decay="rsqrt"),
    train=TrainConfig(batch_size=256, log_every=100, eval_every=10_000, save_every=10_000, keep_every=50_000),
)

PRESETS = {"tiny": Config(steps=2000), "base": BASE}


def build(config: Config) -> Experiment:
    """Fragments of the configuration; what is restored at the end is shown with the fragment masked throughout."""
    special = config.data.special_with_mask

    def hide(fragment: FragmentConfig) -> Noise:
        def noise(rng: jax.Array, batch: Batch) -> Denoising:
            return mask_fragment_batch(
                rng,
                batch["tokens"],
                batch["present"],
                batch["words"],
                config=fragment,
                mask_id=special.mask,
                pad_id=special.pad,
                vocab_size=batch["vocab_size"],
            )

        return noise

    denoiser = Denoiser(
        noise=hide(replace(config.noise, mask_prob=1.0, random_prob=0.0)),
        decoder=fragment_decoder(EncoderDecoder(config.model), special.mask, special.sep),
        inverse=filled_fragment,
        names={special.mask: "[MASK]"},
    )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_bart(folder, config.model, variables["params"], token_ids(tokenizer, decoder_start=special.cls))
        save_tokenizer(folder, tokenizer, config.model.positions, form="text")

    return denoising_experiment(
        config, hide(config.noise), denoiser, import_weights=lambda path: load_bart(path)[1], export=export
    )


if __name__ == "__main__":
    main(PRESETS, build)
