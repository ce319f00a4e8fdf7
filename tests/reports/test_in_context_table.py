"""The tables of accuracy by number of examples."""

from ssl_jax.evals.in_context import Point
from ssl_jax.reports.in_context import log_points


def point(shown: bool, shots: int, accuracy: float) -> Point:
    return Point("letters", shown, shots, 10, accuracy, 0.125, 0.5, 0.25)


def test_a_table_for_each_curve_with_the_shots_that_are_asked_for():
    points = [point(False, 0, 0.25), point(False, 1, 0.5), point(False, 2, 0.75), point(True, 1, 1.0)]
    lines = []
    log_points(points, points[:1], (0, 1), lines.append)
    new, shown = "\n".join(lines).strip().split("\n\n")
    assert new.splitlines()[0] == "letters, new queries (chance 25.0%)"
    assert [line.split()[-2:] for line in new.splitlines()[1:]] == [
        ["0", "1"],
        ["25.0%", "50.0%"],
        ["12.5%", "12.5%"],
        ["50.0%", "50.0%"],
        ["25.0%", "-"],
        ["50.0%", "-"],
    ]
    assert shown.splitlines()[0] == "letters, queries shown before (chance 25.0%)"
    assert shown.splitlines()[2].split() == ["model", "100.0%"]
