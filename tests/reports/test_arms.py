"""Arms compared over pairs of runs: the statistics, the table and the plot."""

import numpy as np
import pytest
from scipy.stats import binomtest

from ssl_jax.evals.arms_plot import draw_arms
from ssl_jax.evals.paired import compare_pairs
from ssl_jax.reports.arms import Arm, arms_table, compare_arms

ARMS = {
    "new": Arm(1e-3, {"accuracy": [0.5, 0.7, 0.9, 0.9], "macro_f1": [0.5, 0.6, 0.7, 0.2]}, [0, 0, 1, 1]),
    "old": Arm(0.1, {"accuracy": [0.5, 0.6, 0.7, 0.8], "macro_f1": [0.4, 0.4, 0.4, 0.4]}, [0, 0, 1, 1]),
}
BASELINES = {"most frequent class": {"accuracy": 0.25, "macro_f1": 0.1}}


def test_pairs():
    first = np.arange(8) / 10 + 0.3
    found = compare_pairs(first, first - np.linspace(0.01, 0.08, 8))
    assert (found.better, found.worse, found.pairs) == (8, 0, 8)
    assert found.difference == pytest.approx(0.045)
    assert found.p == pytest.approx(
        binomtest(8, 8).pvalue
    )  # where all differences have one sign, both tests are equal
    assert compare_pairs([0.3, 0.4], [0.3, 0.4]) == (0.0, 0, 0, 2, 1.0)
    mixed = compare_pairs([0.1 + 0.2, 0.5, 0.2], [0.3, 0.4, 0.4])
    assert (mixed.better, mixed.worse, mixed.pairs) == (1, 1, 3)


def test_arms_are_compared_over_runs_and_over_maps():
    (runs, maps) = compare_arms(ARMS, "macro_f1")["new - old"]
    assert (runs.better, runs.worse, runs.pairs) == (3, 1, 4)
    assert runs.difference == pytest.approx(0.15)
    assert (maps.better, maps.pairs) == (2, 2)
    assert maps.difference == pytest.approx((0.15 + 0.05) / 2)


def test_the_table():
    lines = arms_table(ARMS, BASELINES, "macro_f1", 1200)
    assert lines[:5] == [
        "on 1,200 held-out sequences in %, median (lowest to highest) of 2 maps, 4 runs:",
        "                        learning rate              accuracy              macro f1",
        "  new                           0.001   80.0 (50.0 to 90.0)   55.0 (20.0 to 70.0)",
        "  old                             0.1   65.0 (50.0 to 80.0)   40.0 (40.0 to 40.0)",
        "  most frequent class                                  25.0                  10.0",
    ]
    assert lines[6] == "macro f1, pairs of runs of the same map and seed:"
    assert lines[8].split() == ["new", "-", "old", "+15.0", "3", "of", "4", "2", "of", "2", "0.5"]
    # p: of the 16 equally likely sets of negative ranks (1, 2.5, 2.5, 4), 4 sum to at most 2.5; twice 4/16.
    assert len(arms_table({"new": ARMS["new"]}, BASELINES, "macro_f1", 1200)) == 4


def test_every_run_is_a_dot_and_the_median_a_bar():
    of_metric = {"macro_f1": {name: arm.metrics["macro_f1"] for name, arm in ARMS.items()}}
    figure = draw_arms(of_metric, {"macro_f1": {"most frequent class": 0.1}}, "a run")
    (axes,) = figure.axes
    drawn = [
        line.get_ydata().tolist() for line in axes.lines[:-1]
    ]  # the last one divides arms from baselines
    expected = [[0.5, 0.6, 0.7, 0.2], [0.55, 0.55], [0.4] * 4, [0.4, 0.4], [0.1, 0.1]]
    for found, values in zip(drawn, expected, strict=True):
        assert found == pytest.approx(values)
    assert [text.get_text() for text in axes.get_xticklabels()] == ["new", "old", "most frequent class"]
