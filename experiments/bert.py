"""BERT: masked words and next sentences (Devlin et al. 2018, arXiv:1810.04805).

    python -m experiments.bert                             # offline, minutes on 2 CPU cores: MLM accuracy 36 to 38 %
    python -m experiments.bert longer                      # offline, 14,000 steps of 4 layers, not 3,000 of 2
    python -m experiments.bert base --workdir gs://...     # the paper's settings, for a TPU pod

The small presets train on the documentation inside the installed Python packages; the commonest token between the same
two neighbours is right for 34 % of the words they mask. The others want
`tfds:wikipedia/20230601.en` prepared as ArrayRecord (README.md, "Your own data"); the paper adds BooksCorpus. Expected
of base after its million steps: NSP accuracy 97 to 98 % on held-out text, GLUE average 79.6 (large: 82.1; the paper's
section 3.1 and table 1).

The small presets have rotary positions (RoFormer, arXiv:2104.09864), the others the paper's learned ones.
`--model.position_encoding absolute` gives the small ones these, `relative --model.relative_distance 64` relative ones
(T5, arXiv:1910.10683). Masked words of held-out text that the default predicts, seeds 0 to 2 (2 AMD cores, 28 November
2026): 38.4, 37.3 and 36.3 %, next sentences 63.3, 65.0 and 64.8 %; with learned positions 27.1, 27.8 and 27.6 % of the
words; with relative ones 28.4 (seed 0). `longer` with learned positions has 43 %; with rotary ones it has not been run.

Rotary positions make a BERT a RoFormer, and it is exported as one, without the task on pairs and its pooler, which
Hugging Face's RoFormer does not have; a model with relative positions cannot be exported.

On TPUs: mini, small, base, large on v5e:4x4 (docs/planning.md).
"""

import itertools
import math
from dataclasses import dataclass, field, replace

from ssl_jax.cli import main
from ssl_jax.data.pretraining_text import (
    PairTask,
    TextConfig,
    bert_batch_shapes,
    bert_rows,
    open_pretraining_text,
)
from ssl_jax.domains import Length, PositiveInt, PositiveShare, Settings
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.hub.tokenizer_files import save_tokenizer
from ssl_jax.methods.bert import pretraining
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.bert import SIZES, BertConfig
from ssl_jax.recipes.base import RunConfig, make_experiment
from ssl_jax.reports.masked_words import report_masked_words
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.transforms.masking import MaskingConfig


@dataclass(frozen=True)
class PhaseConfig(Settings):
    """A stretch of training at one length."""

    length: Length
    """Tokens per row."""
    share: PositiveShare = 1.0
    """Share of the run's steps."""


@dataclass(frozen=True)
class Config(RunConfig):
    """BERT pretraining."""

    steps: PositiveInt = 1_000_000
    """Optimiser steps of the whole run."""

    pair_task: PairTask = "nsp"
    """On the two segments of a row. nsp: does the second follow the first; sop: are they in order (ALBERT); none: no
    such task, rows are packed with whole documents (RoBERTa)."""
    phases: tuple[PhaseConfig, ...] = (
        PhaseConfig(length=128, share=0.9),
        PhaseConfig(length=512, share=0.1),
    )
    """One after the other; their shares add up to 1."""
    data: TextConfig = field(default_factory=lambda: TextConfig(source="tfds:wikipedia/20230601.en"))
    model: BertConfig = SIZES["base"]
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(name="bert_adam"))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=256, log_every=100, eval_every=10_000, save_every=10_000, keep_every=50_000
        )
    )

    def check_relations(self) -> None:
        super().check_relations()
        total = sum(phase.share for phase in self.phases)
        if not math.isclose(total, 1):
            raise UserError(f"phases: the shares add up to {total:g}, not to 1, the whole run.")
        if self.pair_task != "none" and not self.model.pooler:
            raise UserError(
                f"model.pooler False: pair_task {self.pair_task} classifies pairs by the pooler's output; give "
                "--model.pooler True or --pair_task none."
            )

    @property
    def phase_steps(self) -> tuple[int, ...]:
        """Steps of each phase."""
        shares = itertools.accumulate((phase.share for phase in self.phases), initial=0.0)
        ends = [round(share * self.steps) for share in shares]
        return tuple(end - start for start, end in itertools.pairwise(ends))


PAPER = Config(model=replace(SIZES["base"], activation="gelu_tanh", dtype="bfloat16"))

# Small enough for a laptop. Rotary positions, more and narrower heads, a wider initialisation and a faster second
# moment than the paper's shorten the plateau before attention finds the neighbours, which would be most of so short a
# run.
OFFLINE = Config(
    steps=3000,
    phases=(PhaseConfig(length=64),),
    data=TextConfig(source="pydocs"),
    model=BertConfig(
        vocab_size=4000,
        positions=64,
        layers=2,
        width=128,
        heads=4,
        mlp_width=512,
        dropout=0.0,
        attention_dropout=0.0,
        initializer_stddev=0.05,
        position_encoding="rotary",
    ),
    optimizer=OptimizerConfig(name="adamw", beta2=0.98),
    schedule=ScheduleConfig(learning_rate=2e-3, warmup_steps=200),
    train=TrainConfig(batch_size=32, log_every=25, eval_every=500, save_every=500, keep_every=500),
)

PRESETS = {
    "tiny": OFFLINE,
    "longer": replace(
        OFFLINE,
        steps=14_000,
        model=replace(OFFLINE.model, layers=4),
        schedule=replace(OFFLINE.schedule, learning_rate=1.5e-3, warmup_steps=500),
        train=replace(OFFLINE.train, eval_every=1000, save_every=1000, keep_every=1000),
    ),
    "mini": replace(PAPER, model=replace(PAPER.model, layers=4, width=256, heads=4, mlp_width=1024)),
    "small": replace(PAPER, model=replace(PAPER.model, layers=4, width=512, heads=8, mlp_width=2048)),
    "base": PAPER,
    "large": replace(
        PAPER,
        model=replace(PAPER.model, layers=24, width=1024, heads=16, mlp_width=4096),
        mesh=MeshConfig(fsdp=16),
    ),
}


def build(config: Config) -> Experiment:
    """Model, masks and losses; pairs of segments; the optimiser; held-out figures and a report in words."""
    tasks = pretraining(
        config.model,
        masking=config.masking,
        pair_task=config.pair_task,
        special=config.data.special_with_mask,
    )

    def open_data(folder) -> Data:  # noqa: ANN001
        text = open_pretraining_text(
            config.data,
            folder,
            make_rows=bert_rows(config.pair_task),
            vocab_size=config.model.vocab_size,
            lengths=[phase.length for phase in config.phases],
            batch_size=config.train.batch_size,
            seed=config.train.seed,
        )
        heldout = tuple({"heldout": rows} for rows in text.heldout)
        return Data(
            train=text.train,
            heldout=heldout,
            identity=text.identity,
            details=text,
            preprocessing=text.preprocessing,
        )

    def export(folder, variables, tokenizer) -> None:  # noqa: ANN001
        save_bert(folder, config.model, variables["params"])
        save_tokenizer(folder, tokenizer, config.model.positions)

    task = [] if config.pair_task == "none" else [f"{config.pair_task}_accuracy"]
    batch_size = config.train.batch_size
    return make_experiment(
        config,
        tasks.method,
        phases=[
            Phase(
                steps,
                bert_batch_shapes(config.pair_task, batch_size, phase.length),
                work=("tokens", batch_size * phase.length),
            )
            for steps, phase in zip(config.phase_steps, config.phases, strict=True)
        ],
        open_data=open_data,
        rules=TRANSFORMER,
        headline=("loss", "mlm_loss", "mlm_accuracy", *task),
        report=lambda report: report_masked_words(report, tasks.predict),
        import_weights=lambda path: load_bert(path)[1],
        export=export,
    )


if __name__ == "__main__":
    main(PRESETS, build)
