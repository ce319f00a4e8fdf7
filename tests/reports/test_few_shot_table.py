"""The table of few-shot accuracies."""

from ssl_jax.evals.few_shot_accuracy import Accuracy
from ssl_jax.reports.few_shot import log_accuracies


def test_table():
    metrics = {
        0: {"sum": Accuracy(0.5, 0.289, None)},
        8: {"sum": Accuracy(0.625, 0.239, 0.177)},
    }
    lines = []
    log_accuracies(metrics, {"majority": 0.75}, lines.append)
    assert lines[1].split() == ["0", "50.0%", "+-", "28.9%"]
    assert lines[2].split() == ["8", "62.5%", "+-", "23.9%", "(17.7%)"]
    assert "majority 75.0%" in lines[3]
