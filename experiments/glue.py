"""GLUE: fine-tuning BERT on one of nine tasks (Wang et al. 2018, arXiv:1804.07461).

    python -m experiments.glue                                       # offline: a BERT, then rte by rule
    python -m experiments.glue mnli --init_from gs://.../bert-base   # tfds:glue, for a TPU slice
    python -m experiments.glue mrpc --init_from WEIGHTS --data.source DIR --encoder.dtype float32 --length 64  # a CPU

A preset for each task: cola, sst2, mrpc, qqp, stsb, mnli, qnli, rte, wnli. The size of the model is that of
`--init_from`: a run of experiments.bert or experiments.albert, or a folder of BERT weights in Hugging Face's layout.
`--data.source` is `tfds:glue` or a folder in GLUE's own layout (CoLA/train.tsv and so on). Every evaluation has the
task's own metrics, on mnli for the matched and the mismatched set. The end of a run writes the predictions of the test
sets as GLUE's server takes them into submission/; a model of mnli predicts the diagnosis set ax as well.
experiments/glue_benchmark.py runs all tasks and several seeds.

Settings are those of BERT's paper (arXiv:1810.04805, section 4.1): batches of 32, 3 epochs, a learning rate of 2e-5,
3e-5, 4e-5 or 5e-5, which the paper chooses on the validation set of each task; give `--schedule.learning_rate`. The
steps of a preset are 3 epochs of GLUE's own training set; the log says how many epochs they are of yours.

The default preset stands in for GLUE where there is no download: rte, made by rule from the installed documentation
(`--task qnli` is the other task of this source). Its scores cannot be compared with published ones.
No result of it has been measured yet.

On TPUs: mnli on v5e:2x2 (docs/planning.md); the other tasks take no more memory.
"""

from dataclasses import dataclass, field, replace
from typing import get_args

from experiments import bert as pretraining
from ssl_jax.cli import main
from ssl_jax.data.glue import TASKS, TaskName
from ssl_jax.domains import PositiveInt
from ssl_jax.errors import UserError
from ssl_jax.evals.glue import METRICS
from ssl_jax.recipes.fine_tuning import EncoderConfig, FineTuningConfig, fine_tuning_experiment
from ssl_jax.recipes.glue import (
    OFFLINE_TASKS,
    GlueConfig,
    glue_predictor,
    glue_score,
    labels_of,
    open_glue,
    report_glue,
)
from ssl_jax.recipes.labelled_text import OFFLINE
from ssl_jax.training.experiment import Experiment, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig
from ssl_jax.training.schedules import ScheduleConfig


@dataclass(frozen=True)
class Config(FineTuningConfig):
    """A task of GLUE."""

    task: TaskName = "rte"
    """What is learnt: its data, labels and metrics. The other settings are those of the preset."""
    steps: PositiveInt = 500
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    data: GlueConfig = field(default_factory=GlueConfig)
    bert: pretraining.Config = pretraining.OFFLINE

    def check_relations(self) -> None:
        super().check_relations()
        if self.data.source == OFFLINE and self.task not in OFFLINE_TASKS:
            raise UserError(
                f"task {self.task}: data.source {OFFLINE} has {' and '.join(OFFLINE_TASKS)} alone. Give --data.source "
                "tfds:glue, or a folder in GLUE's own layout."
            )


def for_task(config: Config, task: TaskName, epochs: float) -> Config:
    """The configuration for a task: steps for so many epochs of GLUE's training set, a tenth of them to warm up.

    There are five evaluations, and a checkpoint after each.
    """
    examples = TASKS[task].examples
    if config.data.examples:
        examples = min(examples, config.data.examples)
    steps = max(int(epochs * examples) // config.train.batch_size, 1)
    every = -(-steps // 5)
    return replace(
        config,
        task=task,
        steps=steps,
        schedule=replace(config.schedule, warmup_steps=steps // 10),
        train=replace(config.train, eval_every=every, save_every=every, keep_every=steps),
    )


TINY = for_task(
    Config(
        length=64,
        data=GlueConfig(examples=2000),
        encoder=EncoderConfig(dropout=0.1, attention_dropout=0.0),
        schedule=ScheduleConfig(learning_rate=5e-4, warmup_steps=50),
        train=TrainConfig(batch_size=32, log_every=20),
    ),
    "rte",
    epochs=8,
)

PAPER = Config(
    task="mnli",
    length=128,
    data=GlueConfig(source="tfds:glue"),
    bert=pretraining.PRESETS["base"],
    encoder=EncoderConfig(dtype="bfloat16"),
    optimizer=OptimizerConfig(name="bert_adam", weight_decay=0.01),
    schedule=ScheduleConfig(learning_rate=2e-5, warmup_steps=50),
    train=TrainConfig(batch_size=32, log_every=20),
)

# One for each task, because its steps follow from the number of its examples.
PRESETS = {"tiny": TINY} | {task: for_task(PAPER, task, epochs=3) for task in get_args(TaskName)}


def build(config: Config) -> Experiment:
    """The encoder with a classifier of its pooled output, or one number for the scores of stsb."""
    labels = labels_of(config.task)
    own = [name for name in METRICS[config.task] if name != "accuracy"]
    return fine_tuning_experiment(
        config,
        "class" if labels else "score",
        labels=labels,
        open_data=lambda folder: open_glue(config, folder),
        score=lambda tuned: glue_score(tuned, config.task),
        headline=("class_loss", "class_accuracy", *own) if labels else ("score_loss", *own),
        report=lambda report, tuned: report_glue(report, config, tuned),
        predictor=lambda tuned: glue_predictor(tuned, config),
    )


if __name__ == "__main__":
    main(PRESETS, build)
