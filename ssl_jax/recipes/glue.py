"""GLUE: the data of a task, its metrics at every evaluation, and predictions of its test sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.glue import TASKS, read_glue
from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.parameter_pairs import parameter_pairs
from ssl_jax.data.parameter_questions import parameter_questions
from ssl_jax.data.tokenizer_files import TokenizerConfig
from ssl_jax.domains import NonEmptyText, NonNegativeInt
from ssl_jax.errors import UserError
from ssl_jax.evals.glue import submission, task_metrics
from ssl_jax.method import Tree
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.labelled_text import OFFLINE, LabelledData, labelled_data, predictor
from ssl_jax.reports.glue import report_task, write_submission
from ssl_jax.training.experiment import Data, Predictor, Report, Score
from ssl_jax.training.mapping import MapFunction

OFFLINE_TASKS = ("qnli", "rte")
"""Tasks of the source "pydocs"."""


@dataclass(frozen=True)
class GlueConfig(TokenizerConfig):
    """The data of GLUE. `tokenizer` is that of the encoder unless it is given."""

    source: NonEmptyText = OFFLINE
    """tfds:glue; a folder in GLUE's own layout, which has folders CoLA, SST-2 and so on; or pydocs: examples in the
    form of qnli and of rte, made by rule from the installed documentation."""
    examples: NonNegativeInt = 0
    """Training examples, at most: always the same choice; 0 for all."""


class Submission(NamedTuple):
    """What GLUE's server takes.

    Attributes:
      files: the text of each file by its name.
      missing: why test sets could not be read.
    """

    files: Mapping[str, str]
    missing: Sequence[str]


Compute = Callable[[MapFunction, grain.MapDataset], Tree]
"""`(function, data set) -> its results`, of a trained model, as `Report.map`."""


def open_glue(config: Any, folder: epath.Path) -> Data:
    """Opens the training set and the validation sets of a task.

    Args:
      config: a `FineTuningConfig` with `task` and `data: GlueConfig`.
      folder: run folder, for the tokenizer.

    Raises:
      UserError: the source lacks a file of the task, or a file is damaged.
    """
    task, source = TASKS[config.task], config.data.source
    if source == OFFLINE:
        training, heldout = offline_examples(config.task)
        splits = {task.heldout[0]: heldout}
    else:
        training = [example for split in task.train for example in read_glue(source, config.task, split)]
        splits = {split: read_glue(source, config.task, split) for split in task.heldout}
    return labelled_data(config, folder, training, splits, labels_of(config.task))


def labels_of(task: str) -> tuple[str, ...]:
    """Names of the classes of a task, in the order that numbers them; none of scores."""
    return tuple(TASKS[task].labels.values())


def offline_examples(task: str) -> tuple[list[LabelledText], list[LabelledText]]:
    """(training, held-out) examples in the form of a task, from the installed documentation.

    - rte: does the description of a parameter imply a statement about it?
    - qnli: does a text about parameters answer a question?

    Args:
      task: one of `OFFLINE_TASKS`.
    """

    def two_way(example: LabelledText) -> LabelledText:
        return example._replace(label=_two_way(example.label == "entailment"))

    if task == "rte":
        return tuple([two_way(example) for example in part] for part in parameter_pairs())
    return tuple(
        [
            LabelledText(q.question, q.context, _two_way(bool(q.answers)), None, q.document, q.place)
            for q in part
        ]
        for part in parameter_questions()
    )


def _two_way(entailed: bool) -> str:
    return "entailment" if entailed else "not_entailment"


def predicted(task: str, results: Mapping[str, np.ndarray]) -> np.ndarray:
    """The class numbers or the scores in the results of `FineTuning.predict` for whole data sets."""
    return results["score"] if TASKS[task].scored else results["logits"].argmax(-1)


def glue_score(tuned: FineTuning, task: str) -> Score:
    """The metrics of a task on a whole validation set, beside the `class_accuracy` of its classes."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        known: LabelledData = data.details
        found = task_metrics(task, known.splits[split].labels, predicted(task, predictions))
        found.pop("accuracy", None)
        return found

    return Score(tuned.predict, metrics)


def glue_predictor(tuned: FineTuning, config: Any) -> Predictor:
    """What is predicted of new text; see `predictor`."""
    pairs = bool(TASKS[config.task].second)
    return predictor(tuned, labels_of(config.task), config.length, pairs=pairs)


def predict_tests(config: Any, predictor: Predictor, data: LabelledData, compute: Compute) -> Submission:
    """Predicts the test sets of a task, and the diagnosis set with a model of mnli, for GLUE's server.

    Args:
      config: as for `open_glue`.
      predictor: of the experiment.
      data: of the run.
      compute: applies the trained model.
    """
    splits = [(config.task, split) for split in TASKS[config.task].test]
    splits += [("ax", split) for split in TASKS["ax"].test if config.task == "mnli"]
    files, missing = {}, []
    for task, split in splits if config.data.source != OFFLINE else ():
        try:
            examples = read_glue(config.data.source, task, split)
        except UserError as error:  # what has been trained is not lost for want of a test set
            missing.append(str(error))
            continue
        lines = [e.text if e.second is None else f"{e.text}\t{e.second}" for e in examples]
        dataset, _ = predictor.prepare(lines, data.tokenizer)
        results = compute(predictor.function, dataset)
        name, text = submission(task, split, predicted(config.task, results))
        files[name] = text
    return Submission(files, missing)


def report_glue(report: Report, config: Any, tuned: FineTuning) -> None:
    """Prints the metrics of a task beside baselines; writes glue.json and submission/.

    Args:
      report: of the run.
      config: as for `open_glue`.
      tuned: the method.
    """
    known: LabelledData = report.data.details
    found = {
        split: predicted(config.task, report.map(tuned.predict, report.heldout[split]))
        for split in known.splits
    }
    tests = predict_tests(config, glue_predictor(tuned, config), known, report.map)
    if report.writes:
        report_task(report, config.task, known.train, known.splits, found)
        write_submission(report.folder, tests.files)
        for reason in tests.missing:
            report.log(f"no predictions of a test set: {reason}")
