"""Accuracy over items and draws against its definition, the baselines, and how they are shown."""

import matplotlib.image
import numpy as np
import pytest
from etils import epath

from ssl_jax.data.few_shot import Item
from ssl_jax.evals.few_shot_report import Accuracy, accuracy_of, baselines, draw_accuracy, log_table

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
    assert baselines(items) == {
        "majority": pytest.approx(2 / 3),
        "chance": pytest.approx((0.5 + 0.25 + 0.5) / 3),
    }
    assert baselines([Item("a", "x", ())]) == {"majority": 1.0}


def test_table_and_picture(tmp_path):
    metrics = {0: {"sum": accuracy_of(RIGHT[:1])}, 8: {"sum": accuracy_of(RIGHT)}}
    lines = []
    log_table(metrics, {"majority": 0.75}, lines.append)
    assert lines[1].split() == ["0", "50.0%", "+-", "28.9%"]
    assert lines[2].split() == ["8", "62.5%", "+-", "23.9%", "(17.7%)"]
    assert "majority 75.0%" in lines[3]
    draw_accuracy(metrics, {"majority": 0.75}, "title", epath.Path(tmp_path) / "task.png")
    pixels = matplotlib.image.imread(tmp_path / "task.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.03
