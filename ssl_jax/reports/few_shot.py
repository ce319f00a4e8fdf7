"""What the few-shot command prints: a table of accuracies, and an example of a prompt."""

from collections.abc import Callable, Mapping

from ssl_jax.data.few_shot import Item
from ssl_jax.evals.few_shot import Answers, Prompt
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


def log_example(prompt: Prompt, item: Item, answers: Answers, log: Callable[[str], None]) -> None:
    """Prints a prompt and how the model answered it.

    Args:
      prompt: of the item.
      item: the first one that was asked for.
      answers: to all items.
      log: prints a line.
    """
    log(f"\n{prompt.asked} shots, the first prompt:")
    for line in f"{prompt.text} ...".split("\n"):
        log(f"  | {line}")
    chosen = "".join(f"; {name}: {item.choices[numbers[0]]!r}" for name, numbers in answers.chosen.items())
    log(f"  right: {item.output!r}; written: {answers.written[0]!r}{chosen}")
