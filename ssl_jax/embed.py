"""Applies a trained model to files: features, codes or scores of text, images and recordings, into an .npz file.

    python -m ssl_jax.embed runs/simclr-digits photos/ --output features.npz       # all images of a folder
    python -m ssl_jax.embed runs/bert-tiny@2000 a.txt b.txt --output features.npz  # a vector a line
    python -m ssl_jax.embed BERT_FOLDER sentences.txt --output sentences.npz       # imported weights
    python -m ssl_jax.embed runs/vqvae-digits photos/ --what codes --output codes.npz
    python -m ssl_jax.embed runs/anomaly_detection-digits new/ --what scores --output scores.npz
    python -m ssl_jax.embed runs/vae-digits new/ --what scores --output bounds.npz       # of the log-likelihood

RUN is a run folder (RUN@STEP for another checkpoint than the newest, RUN@best for the one with the best
--train.best_metric), or a folder of BERT, ALBERT, RoFormer, GPT-2, BART or T5 weights with the files of their
tokenizer. The files are what the model was trained on: text files, of which each line is a text; image files, or
folders of them; wav or flac files, or folders of them.

The output has an array `names`, FILE:LINE of a text and the path of a file, and in the same order `features`
[inputs, width], `codes`, or an array for each score. numpy.load("features.npz") reads it.
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro
from etils import epath

import ssl_jax
from ssl_jax.cli import read_arguments
from ssl_jax.data.given_files import named_files
from ssl_jax.data.lines import read_text_lines
from ssl_jax.domains import BatchSize, NonEmptyText, Settings
from ssl_jax.errors import UserError
from ssl_jax.files import check_writable, whole
from ssl_jax.guard import guarded
from ssl_jax.runs.text_features import Pooling
from ssl_jax.trained_model import TrainedModel

ABILITIES = {"features": "embed", "codes": "encode", "scores": "score"}
"""The method of a model for each value of --what."""
AT_ONCE = 1024
"""Inputs after which the progress may be printed."""
SECONDS = 5.0
"""Between two lines of progress."""


@dataclass(frozen=True)
class Arguments(Settings):
    """What is computed, of which files, and where it goes."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """RUN, RUN@STEP or RUN@best, or a folder of imported weights."""
    files: Annotated[tuple[NonEmptyText, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Text files, or image files, wav or flac files and folders of them."""
    output: NonEmptyText
    """The .npz file to write."""
    what: Literal["features", "codes", "scores"] = "features"
    """features: the representation that linear_eval probes, of a text the mean of its tokens. codes: of an autoencoder,
    or the units of a recording. scores: how anomalous or how likely an image is, or the log-likelihood and the bits per
    byte of a text."""
    pooling: Pooling = "mean"
    """The features of a text: the mean of its tokens, or its first or last token."""
    batch_size: BatchSize | None = None
    """Inputs that are computed at once; None for the batch size of the run."""

    def check_relations(self) -> None:
        if not self.files:
            raise UserError("no files: name text files, or images or recordings and folders of them.")
        if not self.output.endswith(".npz"):
            raise UserError(
                f"--output {self.output}: expected the name of an .npz file, such as features.npz."
            )


def compute(
    model: TrainedModel,
    arguments: Arguments,
    names: Sequence[str],
    inputs: Sequence[str],
    log: Callable[[str], None],
) -> dict[str, np.ndarray]:
    """The arrays of the output, each `[inputs, ...]`.

    Args:
      model: that is applied.
      arguments: what is computed.
      names: of the inputs.
      inputs: texts or paths.
      log: prints a line.
    """
    parts: list[dict[str, np.ndarray]] = []
    shown = time.monotonic()
    for first in range(0, len(inputs), AT_ONCE):
        some = inputs[first : first + AT_ONCE]
        match arguments.what:
            case "features":
                parts.append({"features": model.embed(some, pooling=arguments.pooling)})
            case "codes":
                parts.append({"codes": model.encode(some)})
            case "scores":
                parts.append(model.score(some))
        if time.monotonic() - shown > SECONDS:
            shown = time.monotonic()
            log(f"{first + len(some):,} of {len(inputs):,} inputs")
    found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return {"names": np.array(names), **found}


def find_inputs(files: Sequence[str], reads: str) -> tuple[list[str], list[str]]:
    """(names, inputs): texts by FILE:LINE, or paths of files by themselves.

    Args:
      files: as the user named them.
      reads: what the model reads, see `TrainedModel.reads`.

    Raises:
      UserError: a file is not there or cannot be read, or a folder has none of the right kind.
    """
    if reads != "text":
        found = named_files(files, reads)
        return found, found
    lines = [
        (f"{name}:{number}", line) for name in files for number, line in enumerate(read_text_lines(name), 1)
    ]
    if not lines:
        raise UserError(f"{', '.join(files)}: there is no line of text in it.")
    return [name for name, _ in lines], [line for _, line in lines]


def main(arguments: list[str], log: Callable[[str], None]) -> int:
    """Writes what the command line asks for. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.embed", description=__doc__)
    output = epath.Path(chosen.output).expanduser()
    check_writable(output)
    model = ssl_jax.load(chosen.run, batch_size=chosen.batch_size)
    model.check(ABILITIES[chosen.what])
    arrays = compute(model, chosen, *find_inputs(chosen.files, model.reads), log)
    with whole(output) as draft, draft.open("wb") as file:
        np.savez(file, **arrays)
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
    log(f"{model.name}: {shapes} of {len(arrays['names']):,} inputs are in {output}")
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:], lambda line: print(line, flush=True))))
