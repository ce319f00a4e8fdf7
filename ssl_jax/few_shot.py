"""Evaluates a language model on tasks given by examples in its prompt (Brown et al. 2020, arXiv:2005.14165).

    python -m ssl_jax.few_shot runs/gpt2-tiny --task antonyms.tsv --shots 0 1 8
    python -m ssl_jax.few_shot GPT2_FOLDER --task french.tsv --description "Translate English to French:"

RUN is a run folder (RUN@STEP for another checkpoint than the newest) or a folder of imported weights. Its parameters
do not change. A task is a .tsv file with a header line and the columns `input` and `output`, or `tfds:name:split` with
--input and --output naming its fields. A prompt is the description, examples drawn from the other items (or from
--examples), and the query:

    Translate English to French:
    sea otter => loutre de mer
    cheese =>

Two kinds of answer are scored: the likeliest of the choices, if the task has choices (its different outputs, or a
column of them), and the text that the model writes greedily up to the end of the line. An item is never in its own
prompt, nor is a row with the same input. The few-shot accuracy of GPT-3 needs its size: a small model is at chance in
most tasks; the table has chance and the majority class beside the model.
"""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.data.few_shot import Examples, Format, Item, read_task
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, PositiveInt, Seed, Settings, Text, integers
from ssl_jax.errors import UserError
from ssl_jax.evals.few_shot import FewShot, Prompt
from ssl_jax.evals.few_shot_accuracy import Accuracy, accuracy_of, draw_accuracy, input_free_baselines
from ssl_jax.evals.figure_formats import FigureFormat, also_as
from ssl_jax.evals.plots import save_figure
from ssl_jax.files import write_json
from ssl_jax.guard import guarded
from ssl_jax.reports.few_shot import log_accuracies, log_example
from ssl_jax.runs.language_models import open_language_model
from ssl_jax.runs.reference import RunReference

WITHOUT_NEWLINE = " ; "
"""Separator of examples for tokenizers that encode a newline as a space."""


@dataclasses.dataclass(frozen=True)
class Arguments(Settings):
    """Zero-, one- and few-shot accuracy of a language model on a task."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP, or a folder of imported weights."""
    task: NonEmptyText
    """A .tsv file, or tfds:name/config:split."""
    examples: Text = ""
    """Another such source to draw the examples from; empty for the other items of the task."""
    input: NonEmptyText = "input"
    """Column of the question."""
    output: NonEmptyText = "output"
    """Column of the answer."""
    choices: Text = ""
    """Column of the answers to choose from, with "|" between them; empty for the task's own outputs, if these are 2 to
    20 different ones."""
    description: Text = ""
    """First line of every prompt."""
    format: Text = "{input} => {output}"
    """Format of an example and, up to the answer, of the query."""
    separator: Text = ""
    """Stands between examples, and ends a written answer; empty for a newline, or " ; " if the tokenizer has none."""
    shots: tuple[Annotated[int, integers(0, 10_000)], ...] = (0, 1, 4, 8)
    """Numbers of examples in a prompt."""
    draws: PositiveInt = 3
    """How often the examples are drawn anew; accuracies are means over the draws."""
    items: PositiveInt = 200
    """Most items that are evaluated, a random choice by the seed."""
    seed: Seed = 0
    """Decides the examples and the choice of items."""
    folder: Text = ""
    """Where the metrics and the plot are written; empty for few_shot/ in the run folder."""
    figures: tuple[FigureFormat, ...] = ()
    """Formats in which figures are written beside PNG: pdf, svg, or both."""

    def check_relations(self) -> None:
        if not self.shots:
            raise UserError("--shots: give at least one number of examples, such as 0.")
        Format(self.format)


def evaluate(arguments: Arguments, log: Callable[[str], None]) -> dict[str, Any]:
    """Prints the table; writes and returns the accuracies, by number of shots.

    Raises:
      UserError: a task or a model cannot be read, or a prompt is longer than the model's context.
    """
    columns = (arguments.input, arguments.output, arguments.choices)
    items = read_task(arguments.task, *columns)
    pool = read_task(arguments.examples, *columns) if arguments.examples else items
    order = np.random.default_rng(arguments.seed).permutation(len(items))[: arguments.items]
    items = [items[i] for i in sorted(order)]
    model = open_language_model(arguments.run)
    if model.decoder.reads_source:
        raise UserError(
            f"{arguments.run}: an encoder-decoder does not continue a prompt; a few-shot task needs a GPT."
        )
    separator = arguments.separator or _separator(model.tokenizer, log)
    format = Format(arguments.format, arguments.description, separator)
    task = FewShot(model, items, Examples(pool, arguments.seed), format)
    baselines = input_free_baselines(items)
    metrics, details = {}, {}
    for shots in sorted(set(arguments.shots)):
        metrics[shots], details[shots] = _of_shots(task, items, shots, arguments.draws if shots else 1, log)
    log(f"\n{arguments.task}: {len(items)} items, {arguments.run}")
    log_accuracies(metrics, baselines, log)
    name = Path(arguments.task).stem.replace(":", "-")
    output = epath.Path(
        arguments.folder or RunReference.parse(arguments.run).folder / "few_shot"
    ).expanduser()
    content = {
        "arguments": dataclasses.asdict(arguments) | {"separator": separator},
        "items": len(items),
        **baselines,
        "shots": {n: {k: a._asdict() for k, a in metrics[n].items()} | details[n] for n in metrics},
    }
    write_json(output / f"{name}.json", content)
    title = f"{name}: accuracy against examples in the prompt"
    save_figure(draw_accuracy(metrics, baselines, title=title), output / f"{name}.png")
    log(f"metrics and plot are in {output}")
    return content


def _of_shots(
    task: FewShot, items: list[Item], shots: int, draws: int, log: Callable[[str], None]
) -> tuple[dict[str, Accuracy], dict[str, Any]]:
    """Accuracies, and for the file how many prompts were shortened and what was answered in the first draw."""
    prompts: list[list[Prompt]] = [task.prompts(shots, draw) for draw in range(draws)]
    answers = [task.answers(drawn) for drawn in prompts]
    if short := [prompt.shots for drawn in prompts for prompt in drawn if prompt.shots < shots]:
        fewer = f"{len(short)} of {draws * len(items)} prompts have fewer, at least {min(short)}"
        log(f"{shots} shots: {fewer}; more do not fit the context of {task.positions} tokens")
    log_example(prompts[0][0], items[0], answers[0], log)
    right = [task.right(drawn) for drawn in answers]
    metrics = {name: accuracy_of(np.stack([one[name] for one in right])) for name in right[0]}
    written = [
        {"input": item.input, "output": item.output, "written": answers[0].written[i]}
        | {name: item.choices[numbers[i]] for name, numbers in answers[0].chosen.items()}
        for i, item in enumerate(items)
    ]
    return metrics, {"shortened_prompts": len(short), "answers": written}


def _separator(tokenizer: Tokenizer, log: Callable[[str], None]) -> str:
    if "\n" in tokenizer.decode(tokenizer.encode("a\nb")):
        return "\n"
    log(f"this tokenizer has no newline: {WITHOUT_NEWLINE!r} stands between examples")
    return WITHOUT_NEWLINE


def main(arguments: list[str]) -> int:
    """Evaluates what the command line names. Returns the exit code."""
    module = "python -m ssl_jax.few_shot"
    chosen = read_arguments(Arguments, arguments, prog=module, description=__doc__)
    with also_as(chosen.figures):
        evaluate(chosen, print)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
