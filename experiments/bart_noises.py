"""Which noise teaches what: BART's comparison of noises (arXiv:1910.13461, table 1), in small.

    python -m experiments.bart_noises                      # offline, about 15 minutes on 2 CPU cores

The same model is trained under each noise, with equal steps, seed and rows, and every model is then asked to restore
the held-out text that every noise has corrupted. Two more columns are trained on by none: text that is not corrupted at all,
which asks for copying, and text of which nothing is left, where the decoder is a language model. Each training is an
ordinary run of experiments.bart in a folder of its own; the same command continues where it was stopped. The table is
printed and written to noises.txt and noises.json, with a heat map in plots/.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import tyro
from etils import epath

from experiments import bart
from ssl_jax.cli import guarded
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_curves, draw_matrix
from ssl_jax.evals.tables import aligned
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.training import loop, metrics
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.folder import writing
from ssl_jax.transforms.noise import NoiseConfig

NO_NOISE = NoiseConfig(permutation=0, infilling=0)
NOISES = {
    "masking": dataclasses.replace(NO_NOISE, masking=0.3),
    "deletion": dataclasses.replace(NO_NOISE, deletion=0.3),
    "infilling": dataclasses.replace(NO_NOISE, infilling=0.3),
    "permutation": dataclasses.replace(NO_NOISE, permutation=1.0),
    "rotation": dataclasses.replace(NO_NOISE, rotation=1.0),
    "bart": NoiseConfig(),
}
"""`bart` is infilling and permutation together, what the paper chose."""
ASKED = NOISES | {"nothing": NO_NOISE, "all hidden": NoiseConfig(permutation=0, infilling=1, mean_span=100)}
"""What every model is asked to undo. Where all is hidden, one mask stands for the whole text."""

METRICS = {
    "token_accuracy": ("token accuracy", ".1%"),
    "token_loss": ("nats per token", ".3f"),
    "exact_accuracy": ("rows with all tokens right", ".1%"),
}

Matrix = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Figures by the noise trained on and the noise asked of."""


@dataclass(frozen=True)
class Arguments:
    """BART's noises compared at equal steps."""

    steps: int = 800
    """Of each training."""
    length: int = 32
    """Tokens of a row of text."""
    source: str = "pydocs"
    """The text; see `data.source` of experiments.bart."""
    batch_size: int = 32
    """Rows per step."""
    seed: int = 0
    """Of all trainings."""
    workdir: str = "runs/bart-noises"
    """Holds a run folder for each noise, the table and the plots."""


def settle(arguments: Arguments, noise: NoiseConfig) -> bart.Config:
    """The configuration of one training."""
    tiny = bart.PRESETS["tiny"]
    every = max(1, arguments.steps // 4)
    return dataclasses.replace(
        tiny,
        steps=arguments.steps,
        length=arguments.length,
        data=dataclasses.replace(tiny.data, source=arguments.source),
        model=dataclasses.replace(tiny.model, positions=arguments.length),
        noise=noise,
        train=dataclasses.replace(
            tiny.train,
            batch_size=arguments.batch_size,
            seed=arguments.seed,
            eval_every=every,
            save_every=every,
            keep_every=arguments.steps,
        ),
    )


def compare(arguments: Arguments) -> int:
    """Trains, evaluates and shows. Returns the exit code."""
    folder = epath.Path(arguments.workdir).expanduser()
    for number, (name, noise) in enumerate(NOISES.items(), 1):
        print(f"\n{number} of {len(NOISES)}: {name}", flush=True)
        config = settle(arguments, noise)
        # The table tells what each restores; samples and reports of every run would only take time.
        experiment = bart.build(config)._replace(sample=None, report=None)
        code = loop.train(experiment, folder / name, run_settings(bart.__name__, "tiny", config))
        if code:
            return code
    matrix = evaluate(arguments, folder)
    lines = table(matrix)
    print("\n" + "\n".join(lines))
    with writing(folder):
        (folder / "noises.txt").write_text("\n".join(lines) + "\n")
        (folder / "noises.json").write_text(json.dumps(matrix, indent=2) + "\n")
        draw(matrix, folder)
    print(f"\ntable and plots are in {folder}")
    return 0


def evaluate(arguments: Arguments, folder: epath.Path) -> Matrix:
    """Every model on every noise, on the same held-out rows."""
    runs = {name: open_run(folder / name) for name in NOISES}
    first = next(iter(runs.values()))
    for name, run in runs.items():
        if run.data.identity != first.data.identity:
            raise UserError(
                f"{folder / name}: its text or tokenizer differs from the others'; remove it to train it anew."
            )
    models = {name: run.restore(run.checkpoints.steps()[-1]) for name, run in runs.items()}
    matrix: dict[str, dict[str, dict[str, float]]] = {name: {} for name in NOISES}
    for asked, noise in ASKED.items():
        evaluator = Evaluator(bart.build(settle(arguments, noise)), first.mesh)
        for name, variables in models.items():
            extras = dict(variables)
            matrix[name][asked] = evaluator(extras.pop("params"), extras, first.data.heldout[0]["heldout"])
    return matrix


def table(matrix: Matrix) -> list[str]:
    """Lines of text: for each figure a row for each noise trained on."""
    lines = []
    for figure, (title, form) in METRICS.items():
        body = [
            [name, *(format(row[asked][figure], form) for asked in ASKED)] for name, row in matrix.items()
        ]
        lines += [f"{title}, by the noise to undo:", *aligned([["trained on", *ASKED], *body]), ""]
    return lines


def draw(matrix: Matrix, folder: epath.Path) -> None:
    """A heat map of the accuracies, and the curves of all trainings, each on its own noise."""
    draw_matrix(
        [[row[asked]["token_accuracy"] for asked in ASKED] for row in matrix.values()],
        folder / "plots" / "noises.png",
        rows=list(matrix),
        columns=list(ASKED),
        title="token accuracy on held-out text",
        labels=("noise to undo", "noise trained on"),
    )
    curves = {name: metrics.read(folder / name) for name in matrix}
    draw_curves(curves, folder / "plots", ["token_loss", "token_accuracy"])


if __name__ == "__main__":
    module = "python -m experiments.bart_noises"
    sys.exit(guarded(lambda: compare(tyro.cli(Arguments, prog=module, description=__doc__))))
