"""Accuracies by family, shown or new queries, and examples, from predictions made by hand."""

import numpy as np
import pytest

from ssl_jax.evals.in_context import accuracy_by_shots, draw_points

# Three sequences of letters, one of words with two pairs only.
LABEL = np.array([0, 0, 1, 0])
SHOWN = np.array([[0, 1, 1], [0, 0, 1], [0, 0, -1], [0, 1, 0]])
IDEAL = np.array([[0.25, 1, 1], [0.25, 1 / 3, 1], [0.01, 1, 0], [0.25, 1, 1 / 3]])
RIGHT = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1]], np.float32)


@pytest.fixture
def points():
    return accuracy_by_shots(["letters", "words"], RIGHT, LABEL, SHOWN, IDEAL, np.arange(4))


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


def test_sequences_of_one_function_count_once():
    rng = np.random.default_rng(0)
    function = np.repeat(np.arange(30), 20)
    right = (rng.random(30) < 0.5)[function].astype(np.float32)  # the answers to one function are all alike
    label, shown = np.zeros(600, int), np.zeros((600, 1), int)
    (point,) = accuracy_by_shots(["words"], right[:, None], label, shown, shown, function)
    share = right.mean()
    assert point.error == pytest.approx((share * (1 - share) / 30) ** 0.5, rel=1e-5)


def test_the_plot(points):
    (axes,) = draw_points(points, title="title").axes
    labels = {container.get_label() for container in axes.containers}
    assert labels == {point.curve for point in points}
    np.testing.assert_allclose(list(axes.lines[0].get_ydata()), [1 / 3, 0, 1], rtol=1e-6)
