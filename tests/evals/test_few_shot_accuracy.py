"""Accuracy over items and draws against its definition, the baselines, and their plot."""

import numpy as np
import pytest

from ssl_jax.data.few_shot import Item
from ssl_jax.evals.few_shot_accuracy import Accuracy, accuracy_of, draw_accuracy, input_free_baselines

RIGHT = np.array([[1, 0, 1, 0], [1, 1, 1, 0]], bool)


def test_accuracy_by_hand():
    found = accuracy_of(RIGHT)
    items, draws = [1, 0.5, 1, 0], [0.5, 0.75]
    assert found.accuracy == 0.625
    assert found.standard_error == pytest.approx(np.std(items, ddof=1) / 2)
    assert found.over_draws == pytest.approx(np.std(draws, ddof=1))
    assert accuracy_of(RIGHT[:1]) == Accuracy(0.5, pytest.approx(np.std([1, 0, 1, 0], ddof=1) / 2), None)
    assert accuracy_of(RIGHT[:1, :1]) == Accuracy(1.0, 0.0, None)


def test_baselines():
    items = [Item("a", "x", ("x", "y")), Item("b", "x", ("x", "y", "z", "w")), Item("c", "y", ("x", "y"))]
    assert input_free_baselines(items) == {
        "majority": pytest.approx(2 / 3),
        "chance": pytest.approx((0.5 + 0.25 + 0.5) / 3),
    }
    assert input_free_baselines([Item("a", "x", ())]) == {"majority": 1.0}


def test_the_plot():
    metrics = {0: {"sum": accuracy_of(RIGHT[:1])}, 8: {"sum": accuracy_of(RIGHT)}}
    (axes,) = draw_accuracy(metrics, {"majority": 0.75}, title="title").axes
    assert list(axes.lines[0].get_ydata()) == [0.5, 0.625]
    assert set(axes.lines[-1].get_ydata()) == {0.75}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "8"]
