"""GLUE: the metrics of each task, averages that papers published, and the files of a submission."""

import numpy as np
import pytest

from ssl_jax.data.glue import TASKS
from ssl_jax.evals import glue
from ssl_jax.evals.glue_plot import draw_relative


def test_every_task_has_its_metrics():
    assert set(glue.METRICS) == set(TASKS)
    assert len(glue.NINE) == 9
    labels, predictions = np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])
    found = {task: glue.task_metrics(task, labels, predictions) for task in TASKS}
    assert found["cola"] == found["ax"] == {"matthews": pytest.approx(1 / 3**0.5)}
    assert found["mrpc"] == found["qqp"] == {"f1": pytest.approx(2 / 3), "accuracy": 0.75}
    assert list(found["stsb"]) == ["pearson", "spearman"]
    assert all(found[task] == {"accuracy": 0.75} for task in ("sst2", "mnli", "qnli", "rte", "wnli"))


def test_the_average_of_people_is_the_published_one():
    assert set(glue.HUMAN.scores) == set(glue.NINE)
    scores = {task: glue.task_score(values) for task, values in glue.HUMAN.scores.items()}
    assert round(glue.average(scores), 1) in (87.0, 87.1)  # 87.05
    assert glue.average({**scores, "ax": 0.0}) == glue.average(scores)
    assert glue.average({"cola": 10.0, "rte": 20.0}) == 15.0


@pytest.mark.parametrize(
    ("system", "average"), list(zip(glue.PUBLISHED, (71.0, 75.1, 79.6, 82.1), strict=True))
)
def test_published_systems_have_their_published_averages(system, average):
    """The BERT paper counts the two sets of MNLI separately."""
    values = [score for scores in system.scores.values() for score in scores]
    assert len(values) == 9
    assert sum(values) / 9 == pytest.approx(average, abs=0.1)
    assert all(0 < glue.comparable_human_score(task, system) <= 100 for task in system.scores)


def test_scores_relative_to_people():
    assert glue.task_score({"f1": 80.0, "accuracy": 90.0}) == 85.0
    assert glue.relative_to_human("cola", 33.2) == 0.5
    bert = glue.PUBLISHED[2]
    assert glue.comparable_human_score("stsb", bert) == 92.6
    assert glue.comparable_human_score("mrpc", bert) == 86.3
    assert glue.comparable_human_score("mnli", bert) == 92.4


def test_the_result_of_several_runs():
    """A correlation that is not defined counts as 0; two sets are told apart, and their mean is the score."""
    found = glue.task_result(
        [
            {"validation": {"pearson": float("nan"), "spearman": 0.5}},
            {"validation": {"pearson": 0.9, "spearman": 0.8}},
            {"validation": {"pearson": 0.7, "spearman": 0.7}},
        ]
    )
    assert found.metrics == {"pearson": (0, 90, 70), "spearman": (50, 80, 70)}
    assert found.scores == pytest.approx((25, 85, 70))
    assert (found.median, found.best) == (pytest.approx(70), 1)
    sets = {"validation_matched": {"accuracy": 0.5}, "validation_mismatched": {"accuracy": 0.6}}
    both = glue.task_result([sets])
    assert both.metrics == {"matched accuracy": (50,), "mismatched accuracy": (60,)}
    assert both.scores == (55,)


def test_published_systems_relative_to_people():
    assert glue.relative_scores("wnli") == {}
    qqp = glue.relative_scores("qqp")
    assert [*qqp] == [each.name for each in glue.PUBLISHED]
    assert qqp["BERT-base"] == 71.2 / 59.5


def test_the_picture_has_people_every_task_and_the_range_of_the_runs():
    results = {
        "cola": glue.TaskResult({}, (33.2, 66.4, 49.8)),
        "mrpc": glue.TaskResult({}, (83.55,)),
        "wnli": glue.TaskResult({}, (95.9,)),
    }
    (axes,) = draw_relative(results).axes
    heights = [line.get_ydata() for line in axes.lines]
    assert [*heights[0]] == [1, 1]
    assert heights[1] == pytest.approx([36.0 / 66.4, 45.4 / 66.4, 52.1 / 66.4, 60.5 / 66.4])
    assert [*heights[2]] == pytest.approx([0.5, 1.0])
    assert [*heights[3]] == pytest.approx([0.75])
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["CoLA", "MRPC", "WNLI", "mean\nwithout WNLI"]
    assert [*heights[-1]] == pytest.approx([(0.75 + 1) / 2])
    assert [label.get_text() for label in axes.get_xticklabels()][-1] == "this study\n(median of 3)"


def test_files_of_a_submission():
    assert glue.submission("cola", "test", np.array([1, 0])) == (
        "CoLA.tsv",
        "index\tprediction\n0\t1\n1\t0\n",
    )
    assert glue.submission("mnli", "test_mismatched", np.array([2])) == (
        "MNLI-mm.tsv",
        "index\tprediction\n0\tcontradiction\n",
    )
    assert glue.submission("mnli", "test_matched", np.array([0]))[0] == "MNLI-m.tsv"
    assert glue.submission("rte", "test", np.array([1]))[1].endswith("0\tnot_entailment\n")
    assert glue.submission("wnli", "test", np.array([1]))[1].endswith("0\t1\n")
    assert glue.submission("stsb", "test", np.array([5.7, -1.0, 2.5])) == (
        "STS-B.tsv",
        "index\tprediction\n0\t5.000\n1\t0.000\n2\t2.500\n",
    )
    assert glue.submission("ax", "test", np.array([1]))[0] == "AX.tsv"
