"""Measures a frozen representation: linear probes and nearest neighbours on any run, or over all its checkpoints.

    python -m ssl_jax.linear_eval runs/simclr-digits          # the newest checkpoint
    python -m ssl_jax.linear_eval runs/simclr-digits@1000     # another one
    python -m ssl_jax.linear_eval runs/simclr-digits --curve  # all of them: accuracy against steps, as a plot

The same network at random initialisation (step 0 of the curve) and the raw pixels, or the log-mel spectrum of speech,
are measured too. The protocol is
that of the papers: logistic regression on standardised features without augmentation, fitted by full-batch
L-BFGS, or by SGD if there is too much data for it; the weight decay coefficient is chosen on a part of the training
examples. It works on every experiment on images or speech that defines a representation. The results are in
linear_eval/ of the run folder.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from ssl_jax.cli import read_arguments
from ssl_jax.domains import NonEmptyText, PositiveInt, Seed, Settings
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import COLOURS, new_axes, save_figure
from ssl_jax.evals.probe_comparison import Metrics, compare_representations
from ssl_jax.guard import guarded
from ssl_jax.reports.images import raw_pixels
from ssl_jax.reports.probes import RAW_PIXELS, log_comparison, write_probes
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.mapping import map_examples, with_labels

CURVES = {
    "linear_probe": "linear probe",
    "probe_10_per_class": "linear probe, 10 labels a class",
    "knn": "k-NN",
}


@dataclass(frozen=True)
class Arguments(Settings):
    """Linear probes and nearest neighbours on the frozen representation of a run."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder: RUN for its newest checkpoint, RUN@STEP for another, RUN@best for the best one."""
    curve: bool = False
    """Measure all kept checkpoints, and draw the accuracy against steps."""
    examples: PositiveInt = 50_000
    """Most labelled examples that probes are fitted to, and most that they are tested on."""
    neighbours: PositiveInt | None = None
    """k of the nearest-neighbour vote; None for 20, or all examples where there are fewer."""
    seed: Seed = 0
    """Decides which labelled examples are the few ones, and which part chooses the weight decay coefficient."""


def evaluate(arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    """Metrics by checkpoint ("step 1000"), and of the input itself ("raw pixels", "log-mel").

    Raises:
      UserError: there is no such run or checkpoint, its experiment defines no representation, or its data no labels.
    """
    run = open_run(RunReference.parse(arguments.run))
    if run.experiment.represent is None:
        raise UserError(f"{run.folder}: its experiment defines no representation, which a probe needs.")
    if not run.data.labelled:
        raise UserError(
            f"{run.folder}: its data have no labels, which a probe needs. Start the run with a data.probe_source "
            "that has labels."
        )
    chosen = run.checkpoints.steps() if arguments.curve else [run.step]
    metrics = _metrics(run, [0, *chosen], arguments, log)
    output = run.folder / "linear_eval"
    write_probes(metrics, output, bars=not arguments.curve)
    if arguments.curve:
        save_figure(draw_curve(metrics), output / "plots" / "curve.png")
    log(f"metrics and plots are in {output}")
    return metrics


def _metrics(run: OpenedRun, steps: list[int], arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    raw_name, raw = run.experiment.raw or (RAW_PIXELS, raw_pixels)
    encoder, raw = with_labels(run.experiment.represent), with_labels(raw)
    representations = {f"step {step}": (encoder, step) for step in steps} | {raw_name: (raw, None)}
    features = {}
    for name, (function, step) in representations.items():
        variables = {"params": {}}
        if step is not None:
            variables = run.restore(step) if step else run.program.initial_state().variables
        (train, train_labels), (test, test_labels) = (
            map_examples(
                function,
                variables,
                dataset.shuffle(seed=arguments.seed)[: arguments.examples],
                mesh=run.mesh,
                batch_size=run.experiment.train.batch_size,
            )
            for dataset in (run.data.labelled["train"], run.data.labelled["heldout"])
        )
        features[name] = train, test
    comparison = compare_representations(
        features,
        train_labels,
        test_labels,
        k=arguments.neighbours,
        rows=arguments.examples,
        seed=arguments.seed,
    )
    log_comparison(comparison, log)
    return comparison.metrics


def draw_curve(metrics: Metrics) -> Figure:
    """Accuracy against steps; dashed lines are that of the input itself."""
    raw = next(name for name in metrics if not name.startswith("step "))
    rows = {int(name.removeprefix("step ")): row for name, row in metrics.items() if name.startswith("step ")}
    figure, axes = new_axes(title="accuracy on frozen features")
    for (metric, title), colour in zip(CURVES.items(), COLOURS, strict=False):
        points = [(step, row[metric]) for step, row in sorted(rows.items()) if metric in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, color=colour, label=title)
            axes.axhline(metrics[raw][metric], color=colour, linewidth=0.9, linestyle="--")
    axes.plot([], [], color="gray", linewidth=0.9, linestyle="--", label=raw)
    axes.set_xlabel("step")
    axes.legend(frameon=False, fontsize=8)
    return figure


def main(arguments: list[str]) -> int:
    """Evaluates the run named on the command line. Returns the exit code."""
    module = "python -m ssl_jax.linear_eval"
    evaluate(read_arguments(Arguments, arguments, prog=module, description=__doc__), print)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
