"""Metrics of classes and scores: equal to scikit-learn's and SciPy's (golden vectors); cases without a definition."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from ssl_jax.evals import label_metrics

GOLDEN = json.loads((Path(__file__).parent / "golden" / "label_metrics.json").read_text())


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("accuracy", label_metrics.accuracy),
        ("f1", label_metrics.f1),
        ("macro_f1", label_metrics.macro_f1),
        ("matthews", label_metrics.matthews_correlation),
    ],
)
def test_metrics_of_classes(name, function):
    assert len(GOLDEN["classes"]) == 12
    for case in GOLDEN["classes"]:
        found = function(np.array(case["labels"]), np.array(case["predictions"]))
        assert isinstance(found, float)
        assert found == pytest.approx(case[name], abs=1e-12)


@pytest.mark.parametrize("name", ["pearson", "spearman"])
def test_correlations_of_scores(name):
    function = getattr(label_metrics, f"{name}_correlation")
    assert sum(math.isnan(case[name]) for case in GOLDEN["scores"]) == 3
    for case in GOLDEN["scores"]:
        found = function(np.array(case["labels"]), np.array(case["predictions"]))
        assert isinstance(found, float)
        assert found == pytest.approx(case[name], abs=1e-9, nan_ok=True), case


def test_where_correlations_are_not_defined():
    one, same, usual = np.array([1.0]), np.array([2.0, 2.0]), np.array([1.0, 2.0])
    for function in (label_metrics.pearson_correlation, label_metrics.spearman_correlation):
        for pair in ((one, one), (same, usual), (usual, same), (np.array([np.nan, 1.0]), usual)):
            assert math.isnan(function(*pair))
    assert math.isnan(label_metrics.pearson_correlation(np.array([np.inf, 1.0]), usual))
    assert label_metrics.pearson_correlation(usual * 1e200, usual * 1e-200) == pytest.approx(1.0)
