"""Applies a fine-tuned model to text or images: labels, scores, tags of words, answers.

    python -m ssl_jax.predict runs/sequence_classification-tiny "Returns the sum of the elements."
    python -m ssl_jax.predict runs/sequence_classification-tiny@400 "A number." "The axis to sum over."
    python -m ssl_jax.predict RUN --file sentences.txt --output predictions.jsonl    # a text a line
    cat sentences.txt | python -m ssl_jax.predict RUN --json
    python -m ssl_jax.predict runs/image_classifier-digits photos new.png    # image files, and folders of them

RUN is a run folder of fine-tuning (RUN@STEP for another checkpoint than the newest, RUN@best for the one with the best
--train.best_metric). For pairs, a text is two sentences with a tab between; for questions, a question, a tab and the
text with the answer; for tags, words with spaces between. A run of image_classifier takes the paths of image files and
of folders of them instead, as words of the command line, in --file or on standard input.
A text that is longer than the rows of the run is cut off, as in training; for tags and questions it is read in windows.
A line of the output has the result and the text or the file, with a tab between; with --json or --output, it is a JSON
object with all that the model says, such as the probability of every label.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, TextIO

import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.data.given_files import named_files
from ssl_jax.data.lines import read_text_lines
from ssl_jax.domains import NonEmptyText, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.files import check_writable, write_whole
from ssl_jax.guard import guarded
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.predictions import check_predictor, predict_inputs
from ssl_jax.runs.reference import RunReference


@dataclass(frozen=True)
class Arguments(Settings):
    """What is classified, and by which model."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP or RUN@best."""
    inputs: Annotated[tuple[Text, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT")] = ()
    """The texts, or image files and folders of them. Without any, the lines of --file, or of standard input."""
    file: Text = ""
    """A local file with a text, or the path of an image, a line."""
    output: Text = ""
    """A file of JSON lines to write; empty for standard output."""
    json: bool = False
    """Write JSON lines to standard output."""

    def check_relations(self) -> None:
        if self.inputs and self.file:
            raise UserError(f"texts and --file {self.file}: give either.")


def predictions(run: str, inputs: list[str]) -> list[dict[str, Any]]:
    """What the fine-tuned model RUN, RUN@STEP or RUN@best predicts of each input; see `predict_inputs`.

    Args:
      run: the model.
      inputs: texts; of a model of images, files and folders of them.

    Raises:
      UserError: it is not a run folder, has no such checkpoint, or is not of fine-tuning; a text is empty, or an image
        is not there or cannot be read.
    """
    opened = open_run(RunReference.parse(run))
    if check_predictor(opened).reads == "images":
        inputs = named_files(inputs, "images")
    return predict_inputs(opened, opened.restore(), inputs)


def read_inputs(arguments: Arguments, source: TextIO) -> list[str]:
    """The inputs of the command line, else the lines of the file, else those of `source`.

    Raises:
      UserError: there are none.
    """
    inputs = list(arguments.inputs)
    if arguments.file:
        inputs = read_text_lines(arguments.file)
        if not inputs:
            raise UserError(f"--file {arguments.file}: it is empty; expected a text a line.")
    elif not inputs and not source.isatty():
        inputs = [line.rstrip("\n") for line in source]
    if not inputs:
        raise UserError("no text to classify: give texts or images, --file FILE, or lines on standard input.")
    return inputs


def shown(results: list[dict[str, Any]], *, as_json: bool) -> Iterator[str]:
    """A line for each prediction."""
    for one in results:
        if as_json:
            yield json.dumps(one, ensure_ascii=False)
        elif "tags" in one:
            yield " ".join(f"{word}/{tag}" for word, tag in zip(one["words"], one["tags"], strict=True))
        elif "answer" in one:
            yield f"{one['answer']}\t{one['text']}"
        elif "score" in one:
            yield f"{one['score']:.4f}\t{one['text']}"
        else:
            yield f"{one['label']}\t{one['probability']:.4f}\t{one['file'] if 'file' in one else one['text']}"


def main(arguments: list[str], out: TextIO, source: TextIO) -> int:
    """Predicts what the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.predict", description=__doc__)
    inputs = read_inputs(chosen, source)
    output = epath.Path(chosen.output).expanduser()
    if chosen.output:
        check_writable(output)
    found = predictions(chosen.run, inputs)
    if chosen.output:
        lines = shown(found, as_json=True)
        write_whole(output, "".join(f"{line}\n" for line in lines))
        return 0
    for line in shown(found, as_json=chosen.json):
        out.write(f"{line}\n")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], sys.stdout, sys.stdin)))
