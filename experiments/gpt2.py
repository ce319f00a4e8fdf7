"""GPT-2: predict the next token (Radford et al. 2019, "Language Models are Unsupervised Multitask Learners").

    python -m experiments.gpt2                              # offline, minutes on 2 CPU cores: 1.63 bits per byte
    python -m experiments.gpt2 characters --data.source TRAIN.txt --data.heldout_source VALIDATION.txt
    python -m experiments.gpt2 small --workdir gs://...     # 124M parameters, for a TPU pod; medium, large, xl

The default preset trains on the documentation inside the installed Python packages. Bits per byte of its held-out
documents, seed 0: 1-grams 2.57, lzma 2.31, 2-grams 1.84, this model 1.63, 3-grams 1.50, 5-grams 1.34
(interpolated Kneser-Ney; much of this documentation repeats itself word for word, which long n-grams remember).

characters has the settings of nanoGPT's README for Shakespeare on a CPU: 4 layers of 128, contexts of 64 characters,
2,000 steps of 12; text is kept as it is, line breaks too. Its differences to nanoGPT: layers have biases, each row is
cut from the text at a multiple of 64, and the held-out loss is that of the whole file in windows that do not overlap.
Without files it reads the documentation as tiny does. With nine plays of Shakespeare (1.0 MB, and 0.1 MB held out),
seed 0: loss 1.881 per character and 2.71 bits per byte after 10 minutes on 2 AMD cores that other programs used too
(27 November 2026; 1-grams 4.66, 2-grams 3.57, lzma 2.96, bz2 2.65, 5-grams 2.31). nanoGPT's README states 1.88 on a
text of the same kind, tiny Shakespeare, in about 3 minutes.

The presets for pods want `tfds:c4/webtextlike` prepared as ArrayRecord, or OpenWebText as files (`--data.source
'DIR/*.txt' --data.format raw --data.heldout_source ''`), and the paper's vocabulary (`--data.tokenizer
DIR/tokenizer.json`). Batches of 512 x 1,024 tokens are the paper's, the schedule nanoGPT's (which has batches of
480), the rates of medium, large and xl GPT-3's (arXiv:2005.14165, table 2.1). Expected after 600,000 steps of small on
OpenWebText: a held-out loss of 2.85 (nanoGPT); the released weights have 3.12 there. None of them has been trained.

`--model.position_encoding rotary` gives the model rotary positions (RoFormer, arXiv:2104.09864) in place of learned
ones. Hugging Face's GPT-2 has none: such a model cannot be exported.

On TPUs: small, medium, large, xl on v5e:4x4 (docs/planning.md).
"""

from dataclasses import dataclass, field, replace

import numpy as np

from ssl_jax.cli import main
from ssl_jax.data.next_token import batch_shapes, heldout_shapes, heldout_windows, training_rows
from ssl_jax.data.pretraining_text import TextConfig, open_pretraining_text
from ssl_jax.domains import Length, PositiveInt
from ssl_jax.hub.gpt2 import load_gpt2, save_gpt2
from ssl_jax.hub.tokenizer_files import save_tokenizer, token_ids
from ssl_jax.methods.next_token import next_token
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.gpt2 import SIZES, Gpt2Config
from ssl_jax.models.transformer import Remat
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.language_model import LanguageModelReport
from ssl_jax.reports.text_samples import SamplesConfig, check_samples, with_prompts
from ssl_jax.training.experiment import Data, Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.training.sharding import MeshConfig


@dataclass(frozen=True)
class Config(RunConfig):
    """GPT-2 pretraining."""

    steps: PositiveInt = 600_000
    """Optimiser steps of the whole run."""
    length: Length = 1024
    """Tokens per row."""
    stride: Length | None = None
    """Places between two windows of held-out text, each of `length`; None for the length, so that none overlap."""
    data: TextConfig = field(
        default_factory=lambda: TextConfig(source="tfds:c4/webtextlike", lowercase=False)
    )
    model: Gpt2Config = SIZES["small"]
    samples: SamplesConfig = field(default_factory=SamplesConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", beta2=0.95, epsilon=1e-8, weight_decay=0.1)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(6e-4, warmup_steps=2000, decay="cosine", final_fraction=0.1)
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=512, log_every=100, eval_every=2000, save_every=2000, keep_every=50_000
        )
    )


def paper(
    size: str, *, learning_rate: float, micro_batches: int, fsdp: int = 1, remat: Remat = "none"
) -> Config:
    """A size of the paper in bfloat16 without dropout, in parts for which v5e:4x4 has the memory."""
    usual = Config()
    return replace(
        usual,
        model=replace(SIZES[size], dropout=0.0, attention_dropout=0.0, dtype="bfloat16", remat=remat),
        schedule=replace(usual.schedule, learning_rate=learning_rate),
        train=replace(usual.train, micro_batches=micro_batches),
        mesh=MeshConfig(fsdp=fsdp),
    )


# Small enough for a laptop: small batches, a wider initialisation and a faster second moment than the paper's, since
# 3 million tokens are all that a few minutes allow.
OFFLINE = Config(
    steps=3000,
    length=128,
    data=TextConfig(source="pydocs", lowercase=False, byte_fallback=True, heldout_rows=1000),
    model=Gpt2Config(
        vocab_size=2048,
        positions=128,
        layers=2,
        width=128,
        heads=4,
        mlp_width=512,
        dropout=0.0,
        attention_dropout=0.0,
        initializer_stddev=0.05,
    ),
    optimizer=OptimizerConfig(name="adamw", beta2=0.98, epsilon=1e-8, weight_decay=0.1),
    schedule=ScheduleConfig(learning_rate=2e-3, warmup_steps=200, decay="cosine", final_fraction=0.1),
    train=TrainConfig(batch_size=8, log_every=25, eval_every=500, save_every=500, keep_every=500),
)

# nanoGPT's settings for Shakespeare on a CPU; text is kept as it is, and its characters are the tokens.
CHARACTERS = Config(
    steps=2000,
    length=64,
    data=TextConfig(
        source="pydocs", format="verbatim", tokenizer="characters", lowercase=False, heldout_rows=2000
    ),
    model=Gpt2Config(
        vocab_size=128,
        positions=64,
        layers=4,
        width=128,
        heads=4,
        mlp_width=512,
        dropout=0.0,
        attention_dropout=0.0,
        activation="gelu",
        position_stddev=0.02,
    ),
    samples=SamplesConfig(new_tokens=300),
    optimizer=OptimizerConfig(name="adamw", beta2=0.99, epsilon=1e-8, weight_decay=0.1),
    schedule=ScheduleConfig(learning_rate=1e-3, warmup_steps=100, decay="cosine", final_fraction=0.1),
    train=TrainConfig(batch_size=12, log_every=25, eval_every=500, save_every=500, keep_every=500),
)

PRESETS = {
    "tiny": OFFLINE,
    "characters": CHARACTERS,
    "small": paper("small", learning_rate=6e-4, micro_batches=2),
    "medium": paper("medium", learning_rate=3e-4, micro_batches=2),
    "large": paper("large", learning_rate=2.5e-4, micro_batches=4, fsdp=16),
    "xl": paper("xl", learning_rate=2e-4, micro_batches=2, fsdp=16, remat="full"),
}


def build(config: Config) -> Experiment:
    """Model and loss; packed rows; windows of held-out text; the optimiser; samples, and figures beside counting."""
    tasks = next_token(config.model)
    stride = config.length if config.stride is None else config.stride
    windows = heldout_windows(stride, config.data.heldout_rows)
    shown = LanguageModelReport(config.samples, tasks.decoder, windows, config.length, stride)

    def open_data(folder) -> Data:  # noqa: ANN001
        text = open_pretraining_text(
            config.data,
            folder,
            make_rows=training_rows,
            make_heldout_rows=windows,
            joined=True,
            vocab_size=config.model.vocab_size,
            lengths=[config.length],
            batch_size=config.train.batch_size,
            seed=config.train.seed,
        )
        check_samples(
            with_prompts(config.samples, text, config.model.positions), tasks.decoder, text.tokenizer
        )
        return Data(
            text.train,
            ({"heldout": text.heldout[0]},),
            text.identity,
            details=text,
            preprocessing=text.preprocessing,
        )

    def derive(metrics) -> dict[str, float]:  # noqa: ANN001
        return {"perplexity": float(np.exp(metrics["next_token_loss"])), "stride": float(stride)}

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_gpt2(folder, config.model, variables["params"], token_ids(tokenizer))
        save_tokenizer(folder, tokenizer, config.model.positions, form="prompt")

    size = config.train.batch_size, config.length
    rows, heldout_rows = batch_shapes(*size), heldout_shapes(*size)
    return make_experiment(
        config,
        tasks.method,
        phases=one_phase(config, rows, "tokens", config.length, heldout_rows),
        open_data=open_data,
        derive=derive,
        rules=TRANSFORMER,
        headline=("next_token_loss", "bits_per_byte"),
        sample=shown.sample,
        report=shown.report,
        decoder=tasks.decoder,
        import_weights=lambda path: load_gpt2(path)[1],
        export=export,
    )


if __name__ == "__main__":
    main(PRESETS, build)
