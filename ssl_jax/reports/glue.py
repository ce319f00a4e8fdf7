"""What is shown of GLUE's tasks: a run's metrics beside baselines, a study's scores beside people and other systems."""

import math
from collections.abc import Mapping
from statistics import median

import numpy as np
from etils import epath

from ssl_jax.data.glue import TASKS
from ssl_jax.evals.classification import majority, tfidf_regression, tfidf_scores
from ssl_jax.evals.glue import (
    HUMAN,
    METRICS,
    NINE,
    PUBLISHED,
    TaskResult,
    average,
    relative_to_human,
    task_metrics,
    task_score,
)
from ssl_jax.files import write_whole
from ssl_jax.reports.classification import BASELINE_EXAMPLES, MAJORITY, MODEL, TFIDF, Labelled
from ssl_jax.reports.files import save_json
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

SUBMISSION = "submission"
"""Folder of the files for GLUE's server."""
COMPARABLE = (
    "People and published systems: test sets; the systems have the F1 of MRPC and QQP and the Spearman correlation of "
    "STS-B alone."
)
BY_RULE = "The examples are made by rule and are not GLUE's: no published score can be compared."


def report_task(
    report: Report,
    task: str,
    train: Labelled,
    splits: Mapping[str, Labelled],
    predictions: Mapping[str, np.ndarray],
) -> None:
    """Prints a table for each validation set, and writes glue.json.

    Args:
      report: of the run.
      task: name of the task.
      train: what baselines are fitted to.
      splits: the validation sets by name.
      predictions: of the model, by the name of the set: classes by number, or scores.
    """
    fitted = slice(0, BASELINE_EXAMPLES)
    known = {}
    for split, part in splits.items():
        arguments = train.texts[fitted], train.labels[fitted], part.texts
        if TASKS[task].scored:
            found = {"tf-idf, ridge regression": tfidf_scores(*arguments)}
        else:
            found = {MAJORITY: majority(train.labels, len(part.labels)), TFIDF: tfidf_regression(*arguments)}
        found[MODEL] = predictions[split]
        known[split] = {name: task_metrics(task, part.labels, each) for name, each in found.items()}
        report.log(f"\n{task} {split.replace('_', ' ')}, {len(part.labels):,} examples:")
        cells = [[name, *(_percent(value) for value in row.values())] for name, row in known[split].items()]
        for line in aligned([["in %", *METRICS[task]], *cells]):
            report.log(line)
    save_json(report, "glue", {split: _json(rows) for split, rows in known.items()})


def write_submission(folder: epath.Path, files: Mapping[str, str]) -> None:
    """Writes the files for GLUE's server into submission/ of a folder."""
    for name, text in files.items():
        write_whole(folder / SUBMISSION / name, text)


def result_table(results: Mapping[str, TaskResult], *, comparable: bool) -> list[str]:
    """Lines of a table with a row for each task, and their average.

    Args:
      results: by task.
      comparable: whether the data is GLUE's own; people and published systems then have columns.
    """
    runs = len(next(iter(results.values())).scores)
    systems = (HUMAN, *PUBLISHED) if comparable else ()
    rows = [
        [
            "in %",
            "median",
            "lowest",
            "highest",
            *(["/ human"] if comparable else []),
            *(s.name for s in systems),
        ]
    ]
    for task, result in results.items():
        own = [_one_place(score) for score in (result.median, min(result.scores), max(result.scores))]
        relative = [f"{relative_to_human(task, result.median):.2f}"] if comparable else []
        known = [_one_place(task_score(each.scores.get(task, (math.nan,)))) for each in systems]
        rows.append([TASKS[task].folder, *own, *relative, *known])
    means = [_one_place(average({task: result.median for task, result in results.items()})), "", ""]
    means += [""] if comparable else []
    for each in systems:  # a mean of other tasks would mislead
        scores = {task: task_score(each.scores[task]) for task in results if task in each.scores}
        means.append(_one_place(average(scores) if len(scores) == len(results) else math.nan))
    rows.append([mean_name(results), *means])
    seeds = "one seed" if runs == 1 else f"{runs} seeds"
    lines = [f"scores on the validation sets, {seeds} for each task:", *aligned(rows), ""]
    for task, result in results.items():
        if len(result.metrics) > 1:
            medians = " and ".join(f"{name} {median(values):.1f}" for name, values in result.metrics.items())
            lines.append(
                f"  {TASKS[task].folder}: the score is the mean of two, whose medians are {medians}."
            )
    lines.append(f"  {COMPARABLE if comparable else BY_RULE}")
    return lines


def mean_name(results: Mapping[str, TaskResult]) -> str:
    """What the mean of the scores of these tasks is called."""
    return "average" if len(results) == len(NINE) else f"mean of {len(results)} of {len(NINE)} tasks"


def result_values(results: Mapping[str, TaskResult], *, comparable: bool) -> dict[str, object]:
    """What the table shows of the runs, as JSON; see `result_table`."""
    tasks: dict[str, dict[str, object]] = {}
    for task, result in results.items():
        tasks[task] = {"metrics": result.metrics, "scores": result.scores, "median": result.median}
        if comparable:
            tasks[task]["relative_to_human"] = relative_to_human(task, result.median)
    mean = average({task: result.median for task, result in results.items()})
    return {"tasks": tasks, mean_name(results): mean}


def _one_place(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _percent(value: float) -> str:
    return _one_place(100 * value)


def _json(rows: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """JSON has no NaN."""
    return {
        name: {metric: value if math.isfinite(value) else None for metric, value in row.items()}
        for name, row in rows.items()
    }
