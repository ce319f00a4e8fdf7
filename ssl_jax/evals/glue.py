"""GLUE's metrics, average, published results and submissions (arXiv:1804.07461); the tasks are in `data/glue.py`."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, get_args

import numpy as np

from ssl_jax.data.glue import TASKS, TaskName
from ssl_jax.evals.label_metrics import (
    accuracy,
    f1,
    matthews_correlation,
    pearson_correlation,
    spearman_correlation,
)

METRICS: Mapping[str, tuple[str, ...]] = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("f1", "accuracy"),
    "qqp": ("f1", "accuracy"),
    "stsb": ("pearson", "spearman"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
    "ax": ("matthews",),
}
"""The metrics of each task. F1 is that of the label 1: equivalent, or duplicate."""
NINE: tuple[str, ...] = get_args(TaskName)
"""The tasks of the average."""

_FUNCTIONS: Mapping[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews_correlation,
    "pearson": pearson_correlation,
    "spearman": spearman_correlation,
}


class Published(NamedTuple):
    """Published results on the test sets, in per cent.

    Attributes:
      name: of the system.
      source: where the results are from.
      scores: by task, its metrics in the order of `METRICS`, or those that were published; of `mnli` the accuracy on
        the matched and on the mismatched set.
    """

    name: str
    source: str
    scores: Mapping[str, tuple[float, ...]]


HUMAN = Published(
    "human",
    "Nangia and Bowman 2019, arXiv:1905.10425, table 1",
    {
        "cola": (66.4,),
        "sst2": (97.8,),
        "mrpc": (86.3, 80.8),
        "stsb": (92.7, 92.6),
        "qqp": (59.5, 80.4),
        "mnli": (92.0, 92.8),
        "qnli": (91.2,),
        "rte": (93.6,),
        "wnli": (95.9,),
    },
)
"""Their average is 87.1."""

# F1 of MRPC and QQP, Spearman of STS-B; without WNLI, which the paper leaves out.
_BERT_PAPER = "Devlin et al. 2018, arXiv:1810.04805, table 1"


def _of_bert_paper(name: str, mnli: tuple[float, float], *others: float) -> Published:
    names = ("qqp", "qnli", "sst2", "cola", "stsb", "mrpc", "rte")
    return Published(
        name, _BERT_PAPER, {"mnli": mnli, **{n: (score,) for n, score in zip(names, others, strict=True)}}
    )


PUBLISHED = (
    _of_bert_paper("BiLSTM+ELMo+Attn", (76.4, 76.1), 64.8, 79.8, 90.4, 36.0, 73.3, 84.9, 56.8),
    _of_bert_paper("OpenAI GPT", (82.1, 81.4), 70.3, 87.4, 91.3, 45.4, 80.0, 82.3, 56.0),
    _of_bert_paper("BERT-base", (84.6, 83.4), 71.2, 90.5, 93.5, 52.1, 85.8, 88.9, 66.4),
    _of_bert_paper("BERT-large", (86.7, 85.9), 72.1, 92.7, 94.9, 60.5, 86.5, 89.3, 70.1),
)
"""Systems of the BERT paper."""


def task_metrics(task: str, labels: np.ndarray, predictions: np.ndarray) -> dict[str, float]:
    """The metrics of a task by name, in [-1, 1].

    Args:
      task: name of the task.
      labels: int `[examples]`, in the order of the task's labels, or float scores.
      predictions: likewise.
    """
    return {name: _FUNCTIONS[name](labels, predictions) for name in METRICS[task]}


def task_score(metrics: Mapping[str, float] | Sequence[float]) -> float:
    """The score of a task: the mean of its metrics, or of its accuracies on two sets."""
    values = list(metrics.values() if isinstance(metrics, Mapping) else metrics)
    return sum(values) / len(values)


def average(scores: Mapping[str, float]) -> float:
    """GLUE's average of the scores of tasks, each counted once; of those of the nine that are given.

    Args:
      scores: by task, see `task_score`.
    """
    counted = [scores[task] for task in NINE if task in scores]
    return sum(counted) / len(counted)


class TaskResult(NamedTuple):
    """What several runs of a task have reached, in per cent.

    Attributes:
      metrics: the values of all runs by metric, or by set and metric if the task has two validation sets. A correlation
        that is not defined, as of equal predictions, counts as 0.
      scores: the score of every run.
    """

    metrics: Mapping[str, tuple[float, ...]]
    scores: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median score."""
        return float(np.median(self.scores))

    @property
    def best(self) -> int:
        """The number of the run with the highest score; the first of equal ones."""
        return int(np.argmax(self.scores))


def task_result(runs: Sequence[Mapping[str, Mapping[str, float]]]) -> TaskResult:
    """The result of a task.

    Args:
      runs: of each run the metrics by validation set.

    Example:
      >>> task_result([{"validation": {"f1": 0.5, "accuracy": 0.7}}, {"validation": {"f1": 0.6, "accuracy": 0.8}}])
      TaskResult(metrics={'f1': (50.0, 60.0), 'accuracy': (70.0, 80.0)}, scores=(60.0, 70.0))
    """

    def name(split: str, metric: str) -> str:
        return metric if len(runs[0]) == 1 else f"{split.removeprefix('validation_')} {metric}"

    rows = [
        {
            name(split, metric): 100 * float(np.nan_to_num(value))
            for split, metrics in run.items()
            for metric, value in metrics.items()
        }
        for run in runs
    ]
    metrics = {title: tuple(row[title] for row in rows) for title in rows[0]}
    return TaskResult(metrics, tuple(map(task_score, rows)))


def relative_to_human(task: str, score: float) -> float:
    """The score of a task, in per cent, divided by that of people."""
    return score / task_score(HUMAN.scores[task])


def relative_scores(task: str) -> dict[str, float]:
    """The published results of a task divided by those of people on the same metrics, by system."""
    return {
        each.name: task_score(each.scores[task]) / comparable_human_score(task, each)
        for each in PUBLISHED
        if task in each.scores
    }


def comparable_human_score(task: str, published: Published) -> float:
    """The human score on the metrics that a system was published with.

    Of two metrics, the BERT paper has the F1 of MRPC and QQP and the Spearman correlation of STS-B.
    """
    human = HUMAN.scores[task]
    if len(published.scores[task]) == len(human):
        return task_score(human)
    return human[1] if task == "stsb" else human[0]


def submission(task: str, split: str, predictions: np.ndarray) -> tuple[str, str]:
    """The file that GLUE's server takes for a test split.

    Args:
      task: name of the task.
      split: one of the task's test splits.
      predictions: `[examples]`, classes by number, or scores, in the order of the test file.

    Returns:
      Its name and its text: a line of an index and a prediction for each example. Classes are written as in the files
      of the task.
    """
    kind = TASKS[task]
    suffix = {"test_matched": "-m", "test_mismatched": "-mm"}.get(split, "")
    written = list(kind.labels)
    values = (
        [f"{min(max(float(score), 0.0), 5.0):.3f}" for score in predictions]
        if kind.scored
        else [written[int(label)] for label in predictions]
    )
    lines = ["index\tprediction", *(f"{index}\t{value}" for index, value in enumerate(values))]
    return f"{kind.folder}{suffix}.tsv", "\n".join(lines) + "\n"
