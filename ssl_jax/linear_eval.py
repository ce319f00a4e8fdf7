"""How good is a frozen representation: linear probes and nearest neighbours on any run, or over all its checkpoints.

    python -m ssl_jax.linear_eval runs/simclr-digits          # the newest checkpoint
    python -m ssl_jax.linear_eval runs/simclr-digits@1000     # another one
    python -m ssl_jax.linear_eval runs/simclr-digits --curve  # all of them: accuracy against steps, as a plot

Beside it stand the same network untrained (step 0 of the curve) and the raw pixels. The protocol is that of the papers,
logistic regression on standardised features of images as they are: full-batch L-BFGS, or SGD where there is too much
for it; the weight decay is chosen on a part of the training images. It works on every experiment on images that says
what its representation is, and writes linear_eval/ in the run folder.
"""

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import tyro
from etils import epath

from ssl_jax.cli import guarded
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import COLOURS, new_axes, save_figure
from ssl_jax.evals.representation_report import Metrics, write
from ssl_jax.reports.images import compare_seen, raw_pixels
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.training.folder import writing
from ssl_jax.training.representations import representations

CURVES = {
    "linear_probe": "linear probe",
    "probe_10_per_class": "linear probe, 10 labels a class",
    "knn": "k-NN",
}


@dataclass(frozen=True)
class Arguments:
    """Linear probes and nearest neighbours on the frozen representation of a run."""

    run: Annotated[str, tyro.conf.Positional]
    """A run folder: RUN for its newest checkpoint, RUN@STEP for another."""
    curve: bool = False
    """All kept checkpoints, as a curve against steps."""
    examples: int = 50_000
    """Labelled examples that probes are fitted to, at most; as many are scored."""
    neighbours: int | None = None
    """k of the nearest-neighbour vote; 20, or all examples where there are fewer."""
    seed: int = 0
    """Decides which labels are the few ones, and which part chooses the weight decay."""


def evaluate(arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    """Figures by checkpoint ("step 1000"), and of "raw pixels"."""
    name, step = re.fullmatch(r"(.*?)(?:@(\d+))?", arguments.run).groups()
    folder = epath.Path(name).expanduser()
    run = open_run(folder)
    if run.experiment.represent is None:
        raise UserError(
            f"{folder}: this experiment does not say what its representation is; probes need one."
        )
    if not run.data.labelled:
        raise UserError(
            f"{folder}: labels are missing for a probe: its images have none. Start the run with a data.probe_source "
            "that has."
        )
    steps = run.checkpoints.steps()
    if step and int(step) not in steps:
        raise UserError(f"{arguments.run}: has no such checkpoint; there are {steps}.")
    chosen = steps if arguments.curve else [int(step)] if step else steps[-1:]
    metrics = _metrics(run, [0, *chosen], arguments, log)
    output = folder / "linear_eval"
    with writing(output):
        write(metrics, output, bars=not arguments.curve)
        if arguments.curve:
            draw_curve(metrics, output / "plots" / "curve.png")
    log(f"figures and plots are in {output}")
    return metrics


def _metrics(run: OpenedRun, steps: list[int], arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    sides = {f"step {step}": (run.experiment.represent, step) for step in steps} | {
        "raw pixels": (raw_pixels, None)
    }
    seen = {}
    for name, (function, step) in sides.items():
        variables = {"params": {}}
        if step is not None:
            variables = run.restore(step) if step else run.program.initial_state().variables
        seen[name] = [
            representations(
                function,
                variables,
                dataset.shuffle(seed=arguments.seed)[: arguments.examples],
                mesh=run.mesh,
                batch_size=run.experiment.train.batch_size,
            )
            for dataset in (run.data.labelled["train"], run.data.labelled["heldout"])
        ]
    return compare_seen(seen, k=arguments.neighbours, rows=arguments.examples, seed=arguments.seed, log=log)


def draw_curve(metrics: Mapping[str, Mapping[str, float]], file: epath.Path) -> None:
    """Accuracy against steps; dashed, that of raw pixels."""
    rows = {int(name.removeprefix("step ")): row for name, row in metrics.items() if name.startswith("step ")}
    picture, axes = new_axes(title="accuracy on frozen features")
    for (figure, title), colour in zip(CURVES.items(), COLOURS, strict=False):
        points = [(step, row[figure]) for step, row in sorted(rows.items()) if figure in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, color=colour, label=title)
            axes.axhline(metrics["raw pixels"][figure], color=colour, linewidth=0.9, linestyle="--")
    axes.plot([], [], color="gray", linewidth=0.9, linestyle="--", label="raw pixels")
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8)
    save_figure(picture, file)


def main(arguments: list[str]) -> int:
    """Evaluates the run named on the command line. Returns the exit code."""
    module = "python -m ssl_jax.linear_eval"
    evaluate(tyro.cli(Arguments, args=arguments, prog=module, description=__doc__), print)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
