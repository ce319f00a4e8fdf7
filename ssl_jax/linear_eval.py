"""Measures a frozen representation: linear probes and nearest neighbours on any run, or over all its checkpoints.

    python -m ssl_jax.linear_eval runs/simclr-digits          # the newest checkpoint
    python -m ssl_jax.linear_eval runs/simclr-digits@1000     # another one
    python -m ssl_jax.linear_eval runs/simclr-digits --curve  # all of them: accuracy against steps, as a plot
    python -m ssl_jax.linear_eval RUN --protocol paper        # the linear evaluation of the papers on views of images

The same network at random initialisation (step 0 of the curve) and the raw pixels, or the log-mel spectrum of speech,
are measured too. Probes are logistic regression on standardised features without augmentation, fitted by full-batch
L-BFGS, or by SGD if there is too much data for it; the weight decay coefficient is chosen on a part of the training
examples. They are fitted to --examples training examples at most, and scored on all held-out ones; the table names the
number of labels of each column. 1 % and 10 % are of the whole training set, with as many examples of each class, as in
the literature: 13 a class of ImageNet, 50 of CIFAR-10. This works on every experiment on images or speech that defines
a representation.

`--protocol paper` trains a linear classifier on the frozen encoder with all training images: random crops and mirror
images, batches of the run, 90 epochs of SGD with Nesterov's momentum without weight decay, and a rate of 0.1 for a
batch of 256 that falls along a cosine (SimCLR, arXiv:2002.05709, B.6). For MoCo's (arXiv:1911.05722, 4.1) give
--learning_rate 30 --epochs 100, for SimSiam's (arXiv:2011.10566) --optimizer lars. It is a run of its own, which the
same command continues. The results are in linear_eval/ of the run folder, or in --output.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal

import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.domains import NonEmptyText, PositiveFloat, PositiveInt, Seed, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.figure_formats import FigureFormat, also_as
from ssl_jax.evals.plots import COLOURS, new_axes, percent, save_figure
from ssl_jax.evals.probe_comparison import Metrics, compare_representations, metric_labels
from ssl_jax.files import check_output_folder, read_json
from ssl_jax.guard import guarded
from ssl_jax.recipes.linear_evaluation import RESULT, linear_evaluation
from ssl_jax.reports.images import at_most, raw_pixels
from ssl_jax.reports.probes import RAW_PIXELS, log_comparison, write_probes
from ssl_jax.runs.opening import DataPlaces, OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training import loop
from ssl_jax.training.mapping import map_examples, with_labels
from ssl_jax.training.program_cache import keep_programs

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = {
    "linear_probe": "linear probe",
    "probe_10_per_class": "linear probe, 10 a class",
    "knn": "k-NN",
}

EXAMPLES = 50_000
"""Labelled training examples that probes are fitted to, at most, where the run does not say."""


@dataclass(frozen=True)
class Arguments(Settings):
    """Linear probes and nearest neighbours on the frozen representation of a run."""

    run: Annotated[NonEmptyText, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder: RUN for its newest checkpoint, RUN@STEP for another, RUN@best for the best one."""
    curve: bool = False
    """Measure all kept checkpoints, and draw the accuracy against steps."""
    protocol: Literal["probes", "paper"] = "probes"
    """probes: on features of plain images. paper: a classifier, trained on random crops of all training images."""
    examples: PositiveInt | None = None
    """Most labelled training images that probes are fitted to: a seeded choice. All labelled held-out images are
    scored. 1 and 10 % are shares of the whole training set. None for as many as the report of the run takes (its
    probe_examples, or 50,000), so that both give the same figures."""
    neighbours: PositiveInt | None = None
    """k of the nearest-neighbour vote; None for 20, or all examples where there are fewer."""
    output: Text = ""
    """Folder of the results; empty for linear_eval/ in the run folder."""
    data: DataPlaces = field(default_factory=DataPlaces)
    seed: Seed | None = None
    """Decides which labelled examples are taken, which are the few ones, and which part chooses the weight decay
    coefficient. None for that of the run."""
    epochs: PositiveInt = 90
    """Of the protocol paper: passes over the training images."""
    optimizer: Literal["sgd", "lars"] = "sgd"
    """Of the protocol paper."""
    learning_rate: PositiveFloat = 0.1
    """Of the protocol paper: the first rate of a batch of 256 images. It grows with the batch of the run."""

    figures: tuple[FigureFormat, ...] = ()
    """Formats in which figures are written beside PNG: pdf, svg, or both."""

    def check_relations(self) -> None:
        if self.protocol == "paper" and self.curve:
            raise UserError(
                "--curve: with --protocol paper a single checkpoint is measured; leave out one of the two, or name "
                "checkpoints one after the other as RUN@STEP."
            )


def evaluate(arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    """Metrics by checkpoint ("step 1000"), and of the input itself ("raw pixels", "log-mel").

    Raises:
      UserError: there is no such run or checkpoint, its experiment defines no representation, or its data no labels.
    """
    run = open_run(RunReference.parse(arguments.run), places=arguments.data)
    if run.experiment.represent is None:
        raise UserError(f"{run.folder}: its experiment defines no representation, which a probe needs.")
    if not run.data.labelled:
        raise UserError(
            f"{run.folder}: its data have no labels, which a probe needs. Start the run with a data.probe_source "
            "that has labels."
        )
    output = epath.Path(arguments.output or run.folder / "linear_eval").expanduser()
    check_output_folder(output)
    if arguments.protocol == "paper":
        return train_classifier(run, arguments, output)
    chosen = run.checkpoints.steps() if arguments.curve else [run.step]
    metrics = _metrics(run, [0, *chosen], arguments, log)
    write_probes(metrics, output, bars=not arguments.curve)
    if arguments.curve:
        save_figure(draw_curve(metrics), output / "plots" / "curve.png")
    log(f"metrics and plots are in {output}")
    return metrics


def _metrics(run: OpenedRun, steps: list[int], arguments: Arguments, log: Callable[[str], None]) -> Metrics:
    raw_name, raw = run.experiment.raw or (RAW_PIXELS, raw_pixels)
    encoder, raw = with_labels(run.experiment.represent), with_labels(raw)
    representations = {f"step {step}": (encoder, step) for step in steps} | {raw_name: (raw, None)}
    labelled, heldout = run.data.labelled["train"], run.data.labelled["heldout"]
    examples = arguments.examples or getattr(run.config, "probe_examples", EXAMPLES)
    seed = run.config.train.seed if arguments.seed is None else arguments.seed
    chosen = at_most(labelled, examples, seed)
    features = {}
    for name, (function, step) in representations.items():
        variables = {"params": {}}
        if step is not None:
            variables = run.restore(step) if step else run.program.initial_state().variables
        log(f"{name}: features of {len(chosen):,} training and {len(heldout):,} held-out examples")
        (train, train_labels), (test, test_labels) = (
            map_examples(
                function, variables, dataset, mesh=run.mesh, batch_size=run.experiment.train.batch_size
            )
            for dataset in (chosen, heldout)
        )
        features[name] = train, test
    comparison = compare_representations(
        features,
        train_labels,
        test_labels,
        k=arguments.neighbours,
        rows=examples,
        total=len(labelled),
        seed=seed,
        log=log,
    )
    log_comparison(comparison, log)
    return comparison.metrics


def train_classifier(run: OpenedRun, arguments: Arguments, output: epath.Path) -> Metrics:
    """The result of `--protocol paper`, by checkpoint.

    Raises:
      UserError: the run is not of views of images.
      SystemExit: a signal ended the training early; it is saved, and the same call continues it.
    """
    settings = {
        "epochs": arguments.epochs,
        "optimizer": arguments.optimizer,
        "learning_rate": arguments.learning_rate,
    }
    experiment = linear_evaluation(run, **settings)
    folder = output / f"paper_{run.step}"
    if code := loop.train(experiment, folder, {"run": str(run.folder), "step": run.step, "config": settings}):
        raise SystemExit(code)
    return {f"step {run.step}": read_json(folder / f"{RESULT}.json", dict)}


def draw_curve(metrics: Metrics) -> "Figure":
    """Accuracy against steps; dashed lines are that of the input itself."""
    raw = next(name for name in metrics if not name.startswith("step "))
    rows = {int(name.removeprefix("step ")): row for name, row in metrics.items() if name.startswith("step ")}
    figure, axes = new_axes(title="accuracy on frozen features")
    for (metric, title), colour in zip(CURVES.items(), COLOURS, strict=False):
        points = [(step, row[metric]) for step, row in sorted(rows.items()) if metric in row]
        if points:
            label = f"{title} ({metric_labels(metrics, metric)})"
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3.5, color=colour, label=label)
            axes.axhline(metrics[raw][metric], color=colour, linewidth=0.9, linestyle="--")
    axes.plot([], [], color="gray", linewidth=0.9, linestyle="--", label=raw)
    axes.set_xlabel("step")
    percent(axes.yaxis)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main(arguments: list[str]) -> int:
    """Evaluates the run named on the command line. Returns the exit code."""
    module = "python -m ssl_jax.linear_eval"
    chosen = read_arguments(Arguments, arguments, prog=module, description=__doc__)
    keep_programs()
    with also_as(chosen.figures):
        evaluate(chosen, print)
    return 0


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
