"""In-context learning in small: a GPT infers a function from examples (after Brown et al. 2020, arXiv:2005.14165).

    python -m experiments.gpt3_in_context            # offline, 2 minutes on 2 CPU cores

Every sequence is `x => f(x)` for several x, with a function f of its own. The model is evaluated on functions that
were never trained on, so it can know f only from the examples in its context: no parameter changes. GPT-3 does this
with tasks described in words, which `python -m ssl_jax.few_shot` measures on any language model. Here the tasks are
functions of two families, for which the best possible accuracy is known:

- substitution: the letters of one alphabet are replaced by those of another. A pair that was shown can be looked up;
  about other letters the examples say next to nothing.
- dialect: every word has a translation in every dialect, and f assigns a dialect to each class of words. One example
  determines the translation of all words of its class, including words that were not shown.

There are 40,320 substitutions and 65,536 dialects, of which 15 % are for the test: too many to learn by heart. The
ideal learner beside the model knows the functions of the split and infers which of them are left. Standard errors are
over functions, not over sequences.

The default on functions of the test, 3 seeds, median (2 AMD cores, 27 November 2026; chance is 25.4 and 13.1 %), new
queries in %, with the largest distance of a seed from the median:

    examples                 0            1            4            8           11   ideal learner, 11
    dialect       24.0 +- 1.3  30.3 +- 1.1  39.6 +- 1.2  46.8 +- 1.7  53.8 +- 0.9                64.2
    substitution  12.0 +- 1.2  15.1 +- 1.0  17.2 +- 3.2  32.4 +- 2.9  52.4 +- 2.2                80.6

Functions that the model was trained on, 11 examples: dialect 55.0 (ideal 57.7), substitution 52.5 (59.9): it has learnt
to infer functions and not the functions themselves. Queries that were shown before are answered without an error, but
with one seed, which is right of 79 % of the substitutions after 11 examples.
"""

from dataclasses import dataclass, field
from typing import Annotated

import grain
from etils import epath

from ssl_jax.cli import main
from ssl_jax.data.functions import (
    Dialects,
    FunctionSequences,
    Split,
    Substitutions,
    batch_shapes,
    heldout_shapes,
)
from ssl_jax.data.quick_rows import QuickRows
from ssl_jax.domains import PositiveInt, integers
from ssl_jax.errors import UserError
from ssl_jax.methods.in_context import in_context
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.gpt2 import Gpt2Config
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.reports.in_context import report_in_context
from ssl_jax.training.experiment import Data, Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig

HELDOUT_SEED = 2**31 - 1
"""The held-out sequences are the same for every seed of a run; and no run is likely to be trained with this one."""


@dataclass(frozen=True)
class Config(RunConfig):
    """Functions learnt in context."""

    letters: Annotated[int, integers(2, 1_000)] = 8
    """Of either alphabet of a substitution."""
    classes: Annotated[int, integers(1, 1_000)] = 8
    """Of words, in dialects. There are dialects ** classes functions, far more than a run can learn by heart."""
    words: Annotated[int, integers(1, 1_000)] = 2
    """Of a class."""
    dialects: Annotated[int, integers(2, 1_000)] = 4
    """How many there are."""
    pairs: Annotated[int, integers(2, 10_000)] = 12
    """x => f(x) in a sequence."""
    validation_sequences: PositiveInt = 1024
    """Evaluated while training, with functions of their own; settings are chosen by these."""
    test_sequences: PositiveInt = 4096
    """Evaluated once, at the end, with functions of their own."""
    steps: PositiveInt = 16_000
    """Length of training."""
    model: Gpt2Config = field(
        default_factory=lambda: Gpt2Config(
            vocab_size=99,
            positions=32,
            layers=2,
            width=32,
            heads=2,
            mlp_width=128,
            dropout=0.0,
            attention_dropout=0.0,
            initializer_stddev=0.15,
            position_stddev=0.15,
        )
    )
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(beta2=0.98))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=3e-3, warmup_steps=200, decay="cosine")
    )
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            batch_size=32, log_every=50, eval_every=500, save_every=1000, keep_every=1000
        )
    )


PRESETS = {"tiny": Config()}


def make_sequences(config: Config, split: Split, *, few_inputs: bool = False) -> FunctionSequences:
    """Sequences of both families with functions of a split."""
    families = (Substitutions(config.letters), Dialects(config.classes, config.words, config.dialects))
    return FunctionSequences(families, config.pairs, split, few_inputs=few_inputs)


def build(config: Config) -> Experiment:
    """Families and their sequences, the model, and a report on functions that nothing was chosen by."""
    sequences = {split: make_sequences(config, split) for split in ("train", "validation", "test")}
    training = make_sequences(config, "train", few_inputs=True)
    if training.vocab_size > config.model.vocab_size:
        raise UserError(
            f"model.vocab_size {config.model.vocab_size}: these families have {training.vocab_size} tokens; give "
            f"--model.vocab_size {training.vocab_size}."
        )
    names = [family.name for family in training.families]
    learner = in_context(config.model, names)

    def heldout(split: Split, count: int) -> grain.MapDataset:
        rows = grain.MapDataset.range(count).seed(HELDOUT_SEED)
        return rows.random_map(sequences[split].with_ideal)

    def open_data(folder: epath.Path) -> Data:
        rows = grain.MapDataset.range(config.train.batch_size * config.steps)
        return Data(
            train=(QuickRows(rows.seed(config.train.seed).random_map(training)),),
            heldout=({"validation": heldout("validation", config.validation_sequences)},),
            identity={},
        )

    size = config.train.batch_size, training.length
    rows, heldout_rows = batch_shapes(*size), heldout_shapes(*size)
    return make_experiment(
        config,
        learner.method,
        phases=one_phase(config, rows, "tokens", training.length, heldout_rows),
        open_data=open_data,
        rules=TRANSFORMER,
        headline=(
            "answer_loss",
            "substitution_shown_8_shot_accuracy",
            "dialect_new_1_shot_accuracy",
            "dialect_new_8_shot_accuracy",
        ),
        report=lambda report: report_in_context(
            report,
            learner.correct,
            names,
            test=heldout("test", config.test_sequences),
            train=heldout("train", config.test_sequences),
        ),
    )


if __name__ == "__main__":
    main(PRESETS, build)
