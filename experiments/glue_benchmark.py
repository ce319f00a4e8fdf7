"""GLUE as a benchmark: all tasks from one encoder, beside people (Wang et al. 2018, arXiv:1804.07461).

    python -m experiments.glue_benchmark                               # offline: a BERT, then two tasks made by rule
    python -m experiments.glue_benchmark base --init_from WEIGHTS      # nine tasks of tfds:glue
    python -m experiments.glue_benchmark base --tasks cola mrpc --repeats 5 --init_from WEIGHTS --each.data.source DIR

Each run is one of experiments/glue.py, which names the TPU slice, in a folder of its own: every task with `--repeats`
seeds. All start from `--init_from` (a run of experiments.bert or experiments.albert, RUN@STEP, or a folder of BERT
weights), or from a BERT that is trained first and shared. Small tasks differ between seeds: the table, glue.txt and
glue.json, has the median, the lowest and the highest score on the validation sets, the average of the nine tasks (of
fewer, their mean), and the scores of people and of published systems. plots/relative_to_human.png divides each score by
that of people.

submission/ has the predictions of the test sets by the best seed of each task. GLUE's server takes them as
`zip -j submission.zip submission/*.tsv`, and asks for the files of all tasks.

No result of the default preset has been measured yet. docs/fine_tuning.md has four tasks from a small BERT: 0.19 (CoLA)
to 0.96 (MRPC) of the scores of people.
"""

import functools
import math
from dataclasses import dataclass, replace
from typing import get_args

from etils import epath

from experiments import glue
from ssl_jax.cli import main
from ssl_jax.data.glue import TASKS, TaskName
from ssl_jax.domains import PositiveFloat, PositiveInt, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.glue import METRICS, task_result
from ssl_jax.evals.glue_plot import draw_relative
from ssl_jax.evals.plots import draw_curves
from ssl_jax.recipes.fine_tuning import BERT_RUN
from ssl_jax.recipes.glue import OFFLINE_TASKS, Compute, Submission, predict_tests
from ssl_jax.recipes.labelled_text import OFFLINE
from ssl_jax.reports.glue import result_table, result_values, write_submission
from ssl_jax.runs.opening import OpenedRun
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, Runs, Study, Table
from ssl_jax.training import metrics
from ssl_jax.training.distributed import on_main
from ssl_jax.training.mapping import map_examples

BERT = "bert"
"""Name of the run that the others start from."""


@dataclass(frozen=True)
class Config(Settings):
    """Tasks of GLUE from one encoder, with several seeds."""

    each: glue.Config
    """The configuration of each run. Its task, steps, warm-up and intervals are replaced, and its seed is the first."""
    tasks: tuple[TaskName, ...] = get_args(TaskName)
    """What is learnt."""
    repeats: PositiveInt = 3
    """Seeds of each task."""
    epochs: PositiveFloat = 3.0
    """Of GLUE's training set, or of as many examples as each.data.examples allows."""
    init_from: Text = ""
    """RUN, RUN@STEP or a folder of weights that all runs start from; empty: a BERT is trained first."""

    def check_relations(self) -> None:
        if not self.tasks or len({*self.tasks}) < len(self.tasks):
            raise UserError(f"tasks {' '.join(self.tasks)}: expected at least one, each of them once.")


PRESETS = {
    "tiny": Config(glue.PRESETS["tiny"], tasks=OFFLINE_TASKS, epochs=8.0),
    "base": Config(glue.PAPER),
}


def study(config: Config) -> Study:
    """A run for each task and seed, and their scores."""
    encoder = {} if config.init_from else {BERT: PlannedRun(BERT_RUN, "tiny", config.each.bert)}
    return Study(
        name="glue",
        runs=encoder | {name: run for task in config.tasks for name, run in task_runs(config, task).items()},
        table=lambda runs, folder: tabulate(config, runs, folder),
        plot=functools.partial(draw, config),
    )


def task_runs(config: Config, task: TaskName) -> dict[str, PlannedRun]:
    """The runs of a task by name, TASK-SEED."""
    each = glue.for_task(config.each, task, config.epochs)
    seeds = range(each.train.seed, each.train.seed + config.repeats)
    return {
        f"{task}-{seed}": PlannedRun(
            glue.__name__,
            "tiny",
            replace(each, train=replace(each.train, seed=seed)),
            config.init_from or BERT,
        )
        for seed in seeds
    }


def tabulate(config: Config, runs: Runs, folder: epath.Path) -> Table:
    """The scores of all runs; the predictions of the best ones go into submission/ of the folder."""
    results, files, missing = {}, {}, []
    for task in config.tasks:
        own = [runs[name] for name in task_runs(config, task)]
        results[task] = task_result([validate(run) for run in own])
        tests = predict(own[results[task].best])
        files |= tests.files
        missing += tests.missing
    on_main(lambda: write_submission(folder, files))
    comparable = config.each.data.source != OFFLINE
    lines = result_table(results, comparable=comparable)
    lines += [f"  no predictions of a test set: {reason}" for reason in missing]
    return Table(result_values(results, comparable=comparable), lines, details=results)


def validate(run: OpenedRun) -> dict[str, dict[str, float]]:
    """The metrics of a run on each validation set of its task, as its last evaluation logged them."""
    task = run.config.task
    last = {line["split"]: line for line in metrics.read(run.folder) if "split" in line}
    # A metric that is not defined is not in the log.
    return {
        split: {
            name: last[split].get("class_accuracy" if name == "accuracy" else name, math.nan)
            for name in METRICS[task]
        }
        for split in TASKS[task].heldout
    }


def predict(run: OpenedRun) -> Submission:
    """What a run predicts of the test sets."""
    return predict_tests(run.config, run.experiment.predictor, run.data.details, computer(run))


def computer(run: OpenedRun) -> Compute:
    """Applies the trained model of a run."""
    variables, batch_size = run.restore(), run.experiment.train.batch_size
    return lambda function, dataset: map_examples(
        function, variables, dataset, mesh=run.mesh, batch_size=batch_size
    )


def draw(config: Config, table: Table, runs: Runs) -> Figures:
    """The scores relative to people, and the curves of the first seed of each task."""
    firsts = [next(iter(task_runs(config, task))) for task in config.tasks]
    curves = draw_curves(
        {name: metrics.read(runs[name].folder) for name in firsts}, ["class_loss", "score_loss"]
    )
    if config.each.data.source == OFFLINE:
        return curves
    return {"relative_to_human": draw_relative(table.details), **curves}


if __name__ == "__main__":
    main(PRESETS, study=study)
