"""The table of few-shot accuracies."""

from collections.abc import Callable, Mapping

from ssl_jax.evals.few_shot_accuracy import TITLES, Accuracy


def log_accuracies(
    metrics: Mapping[int, Mapping[str, Accuracy]],
    baselines: Mapping[str, float],
    log: Callable[[str], None],
) -> None:
    """Prints a row for each number of examples, and the baselines.

    Args:
      metrics: by number of examples, then by metric.
      baselines: see `input_free_baselines`.
      log: prints a line.
    """
    names = list(next(iter(metrics.values())))
    log("  shots" + "".join(f"{TITLES[name]:>30}" for name in names))
    for shots, row in metrics.items():
        log(f"{shots:>7}" + "".join(f"{_cell(row[name]):>30}" for name in names))
    log("  " + ", ".join(f"{name} {share:.1%}" for name, share in baselines.items()))
    log("  +- standard error over the items; in brackets, standard deviation over draws of the examples")


def _cell(accuracy: Accuracy) -> str:
    spread = "" if accuracy.over_draws is None else f" ({accuracy.over_draws:.1%})"
    return f"{accuracy.accuracy:.1%} +- {accuracy.standard_error:.1%}{spread}"
