"""Probes of frozen representations at the end of a run, beside a network at random initialisation and raw pixels."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.evals.plots import save_figure
from ssl_jax.evals.probe_comparison import (
    DEVIATION,
    Comparison,
    Metrics,
    compare_representations,
    draw_metrics,
    metric_labels,
    metric_names,
    metric_title,
)
from ssl_jax.files import write_json
from ssl_jax.method import Batch, Extras, Represent, Tree
from ssl_jax.reports.images import at_most, raw_pixels
from ssl_jax.reports.tables import aligned
from ssl_jax.training.distributed import spread
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import with_labels

RANDOM_INIT = "random init"
RAW_PIXELS = "raw pixels"

Features = dict[str, tuple[np.ndarray, np.ndarray]]
"""By representation, float32 `[images, width]` of the images that probes are fitted to, and of those they score."""


class Probed(NamedTuple):
    """Labelled images and their frozen features.

    Attributes:
      train, test: the images that probes are fitted to, and all held-out ones, which they score.
      features: of both, by representation.
      train_labels, test_labels: int `[images]`.
    """

    train: grain.MapDataset
    test: grain.MapDataset
    features: Features
    train_labels: np.ndarray
    test_labels: np.ndarray


def report_probes(
    report: Report,
    trained: Mapping[str, Represent],
    *,
    random_init: Represent | None = None,
    pixels: Represent = raw_pixels,
    examples: int,
    seed: int,
) -> None:
    """Prints the accuracies of probes and writes probes.json and plots/probes.png.

    Args: see `probed_features`.
    """
    probed = probed_features(
        report, trained, random_init=random_init, pixels=pixels, examples=examples, seed=seed
    )
    if probed is not None:
        report_comparison(report, probed, probed.features, examples=examples, seed=seed)


def probed_features(
    report: Report,
    trained: Mapping[str, Represent],
    *,
    random_init: Represent | None = None,
    pixels: Represent = raw_pixels,
    examples: int,
    seed: int,
) -> Probed | None:
    """The features of labelled images; None, and a line in the log, where there are no labels.

    Args:
      report: of the run.
      trained: representations of the trained model, by name.
      random_init: a representation of the model as the run began, called "random init"; None for none.
      pixels: of the images themselves, called "raw pixels".
      examples: labelled images to fit probes to, at most: a seeded choice. All held-out images are scored.
      seed: of the choice.
    """
    if not report.data.labelled:
        report.log("no probes: these images have no labels; --data.probe_source names others that have")
        return None
    train, test = at_most(report.data.labelled["train"], examples, seed), report.data.labelled["heldout"]
    learned = {**trained, RAW_PIXELS: pixels}

    def represent(params: Tree, extras: Extras, batch: Batch) -> dict[str, Tree]:
        return {name: function(params, extras, batch) for name, function in learned.items()}

    of_trained = with_labels(represent)
    (fitted, train_labels), (scored, test_labels) = (report.map(of_trained, rows) for rows in (train, test))
    features = {name: (fitted[name], scored[name]) for name in trained}
    if random_init:
        initial = report.initial_variables()
        features[RANDOM_INIT] = tuple(
            report.map(random_init, rows, initial).astype(np.float32) for rows in (train, test)
        )
    features[RAW_PIXELS] = fitted[RAW_PIXELS], scored[RAW_PIXELS]
    return Probed(train, test, features, train_labels, test_labels)


def report_comparison(
    report: Report, probed: Probed, features: Features, *, examples: int, seed: int, bars: bool = True
) -> Metrics:
    """Fits probes to features of the probed images, prints a table, and writes the files of `write_probes`.

    The processes share the representations: probes of ImageNet take long. Every process gets the metrics.
    """
    comparison = compare_representations(
        features,
        probed.train_labels,
        probed.test_labels,
        rows=examples,
        total=len(report.data.labelled["train"]),
        seed=seed,
        spread=spread,
        log=report.log,
    )
    if report.writes:
        log_comparison(comparison, report.log)
        write_probes(comparison.metrics, report.folder, bars=bars)
    return comparison.metrics


def log_comparison(comparison: Comparison, log: Callable[[str], None]) -> None:
    """Prints a table of a comparison, and what was left out of it."""
    if not comparison.metrics:
        log("no probes: there are no labelled examples of two classes or more to fit and to score them with")
        return
    for name, reason in comparison.skipped.items():
        log(f"no {metric_title(name)}: {reason}")
    log(
        f"accuracy on frozen features, of all {comparison.scored:,} labelled held-out examples; always the most "
        f"frequent class: {comparison.majority:.1%}"
    )
    for line in probe_table(comparison.metrics):
        log(line)


def probe_table(metrics: Metrics) -> list[str]:
    """Lines of an aligned table of percentages: a row for each representation, a column for each metric."""
    columns = metric_names(metrics)
    body = [[name, *(_cell(row, column) for column in columns)] for name, row in metrics.items()]
    titles = ["", *(metric_title(column) for column in columns)]
    return aligned([titles, ["fitted to", *(metric_labels(metrics, column) for column in columns)], *body])


def write_probes(metrics: Metrics, folder: epath.Path, *, bars: bool = True) -> None:
    """Writes probes.json and, as bars, plots/probes.png in a folder; nothing where there are no metrics."""
    if not metrics:
        return
    write_json(folder / "probes.json", metrics)
    if bars:
        save_figure(draw_metrics(metrics), folder / "plots" / "probes.png")


def _cell(row: Mapping[str, float], column: str) -> str:
    if column not in row:
        return "-"
    deviation = row.get(column + DEVIATION)
    return f"{100 * row[column]:.1f}" + ("" if deviation is None else f" ± {100 * deviation:.1f}")
