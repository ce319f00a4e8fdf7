"""Accuracies by family, shown or new queries, and examples, from predictions made by hand."""

import matplotlib.image
import numpy as np
import pytest
from etils import epath

from ssl_jax.evals.in_context import accuracy_by_shots, as_table, draw_points, log_points

# Three sequences of letters, one of words with two pairs only.
LABEL = np.array([0, 0, 1, 0])
SHOWN = np.array([[0, 1, 1], [0, 0, 1], [0, 0, -1], [0, 1, 0]])
IDEAL = np.array([[0.25, 1, 1], [0.25, 1 / 3, 1], [0.01, 1, 0], [0.25, 1, 1 / 3]])
RIGHT = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1]])


@pytest.fixture
def points():
    return accuracy_by_shots(["letters", "words"], RIGHT, LABEL, SHOWN, IDEAL)


def test_points_by_hand(points):
    found = {
        (p.family, p.shown, p.shots): (p.queries, p.accuracy, p.error, p.ideal, p.chance) for p in points
    }
    third = (1 / 3 * 2 / 3 / 3) ** 0.5
    wanted = {
        ("letters", False, 0): (3, 1 / 3, third, 0.25, 0.25),
        ("letters", False, 1): (1, 0.0, 0.0, 1 / 3, 0.25),
        ("letters", False, 2): (1, 1.0, 0.0, 1 / 3, 0.25),
        ("letters", True, 1): (2, 0.5, (0.25 / 2) ** 0.5, 1.0, 0.25),
        ("letters", True, 2): (2, 0.5, (0.25 / 2) ** 0.5, 1.0, 0.25),
        ("words", False, 0): (1, 0.0, 0.0, 0.01, 0.01),
        ("words", False, 1): (1, 1.0, 0.0, 1.0, 0.01),
    }
    assert found.keys() == wanted.keys()
    for key, values in wanted.items():
        assert found[key] == pytest.approx(values), key


def test_the_table(points):
    lines = []
    log_points(points, points[:1], (0, 1), lines.append)
    text = "\n".join(lines)
    assert text.count("ideal learner") == 3
    assert "letters, new queries (chance 25.0%)" in text
    new = text[text.index("letters, new") : text.index("letters, queries shown")]
    assert [line.split()[-2:] for line in new.strip().splitlines()[1:]] == [
        ["0", "1"],
        ["33.3%", "0.0%"],
        ["27.2%", "0.0%"],
        ["25.0%", "33.3%"],
        ["33.3%", "-"],
    ]
    assert as_table({"test": points})["test"][0]["accuracy"] == pytest.approx(1 / 3)


def test_the_picture(points, tmp_path):
    draw_points(points, "title", epath.Path(tmp_path) / "curve.png")
    pixels = matplotlib.image.imread(tmp_path / "curve.png")
    assert min(pixels.shape[:2]) > 300
    assert pixels[..., :3].std() > 0.03
