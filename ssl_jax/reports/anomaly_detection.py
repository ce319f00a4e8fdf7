"""What an experiment that detects anomalies shows at its end: metrics beside other methods, score plots, examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.data.image_source import ImageSource, Rows
from ssl_jax.data.one_class import OneClassSplits
from ssl_jax.evals.anomaly import (
    WORST,
    Examined,
    classical_scores,
    detection_metrics,
    learned_scores,
    telling_examples,
)
from ssl_jax.evals.anomaly_plots import draw_roc, draw_scores
from ssl_jax.evals.pictures import OTHER, SAME, draw_grid
from ssl_jax.files import check_json, read_json
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.one_class import Detectors
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import pixels_of
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import with_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESULT = "anomalies"
"""Name of the file of metrics."""
DRAWN = 10
"""Detectors in a picture, at most."""

Scores = dict[str, tuple[np.ndarray, ...]]
"""By method, those of (validation, held-out) images."""
Metrics = Mapping[str, Mapping[str, Mapping[str, object]]]
"""By method, then by detector; see `detection_metrics`."""


def stored_thresholds(folder: epath.Path, score: str) -> dict[str, np.ndarray]:
    """The thresholds of the detectors of a run, by the name of the score, `[detectors]`, or `[]` of a single one.

    Args:
      folder: of the run.
      score: one of `ssl_jax.evals.anomaly.LEARNED`. There is no threshold here for those that need other images beside
        the one that is scored, and before the report has been made.

    Raises:
      UserError: the file is damaged.
    """
    file = folder / f"{RESULT}.json"
    if score not in ("reconstruction", "likelihood") or not file.exists():
        return {}
    metrics = read_json(file, dict[str, dict[str, dict[str, Any]]]).get(score, {})
    found = [check_json(each.get("threshold"), float, file) for each in metrics.values()]
    return {score: np.array(found[0] if len(found) == 1 else found)} if found else {}


def report_anomaly_detection(
    report: Report,
    detectors: Detectors,
    *,
    code_size: int,
    main: str,
    false_alarm_rate: float,
    examples: int,
    seed: int,
) -> None:
    """How well each detector tells the held-out anomalies from normal images, beside methods without a network.

    Args:
      report: of the run.
      detectors: the method.
      code_size: numbers of a code, and components of PCA.
      main: the score that is drawn and whose examples are shown; one of `ssl_jax.evals.anomaly.LEARNED`.
      false_alarm_rate: that thresholds are set for.
      examples: normal training images of a detector that distances and the other methods are fitted to, at most.
      seed: of the choice of these, and of the other methods.
    """
    splits: OneClassSplits = report.data.details
    names, normal = splits.names, splits.normal
    pixels = pixels_of(detectors.preprocess)

    def examine(params: Tree, extras: Extras, batch: Batch) -> Examined:
        found = detectors.examine(params, extras, batch)
        return Examined(error=found[:, 0], bound=found[:, 1], code=found[:, 2:])

    def reconstruct(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        images = detectors.preprocess(batch)
        return images, detectors.reconstruct(params, images)

    shown = grain.MapDataset.source(splits.heldout)
    heldout, labels = report.map(with_labels(pixels), shown, {"params": {}})
    scores: dict[str, Scores] = {}
    examples_of = {}
    for place, name in enumerate(names):
        own = {"params": jax.tree.map(lambda leaf, place=place: leaf[place], report.variables["params"])}
        sources = _choice(splits.train[place], examples, seed), splits.validation[place]
        train, validation = map(grain.MapDataset.source, sources)
        scores[name] = learned_scores(
            *(report.map(examine, rows, own) for rows in (train, validation, shown))
        )
        if len(examples_of) < DRAWN:
            rows = telling_examples(scores[name][main][1], normal[place][labels])
            chosen = grain.MapDataset.source(Rows(splits.heldout, rows))
            pairs = zip(*report.map(reconstruct, chosen, own), strict=True)
            examples_of[name] = rows, [picture for pair in pairs for picture in pair]
        fitted, usual = (report.map(pixels, rows, {"params": {}}) for rows in (train, validation))
        if report.writes:
            scores[name] |= classical_scores(fitted, usual, heldout, components=code_size, seed=seed)
    metrics = {
        method: {
            name: detection_metrics(
                *scores[name][method], labels, normal[place], splits.classes, false_alarm_rate
            )
            for place, name in enumerate(names)
        }
        for method in scores[names[0]]
    }
    _log_metrics(report.log, metrics, main, false_alarm_rate)
    save_json(report, RESULT, metrics)
    separated = {
        name: {
            method: (found[normal[place][labels]], found[~normal[place][labels]])
            for method, (_, found) in scores[name].items()
        }
        for place, name in enumerate(names)
    }
    figure = draw_roc(
        {method.replace("_", " "): [separated[name][method] for name in names] for method in metrics},
        title="held-out images" + (f", mean of {len(names)} detectors" if len(names) > 1 else ""),
    )
    save_plot(report, "roc", figure)
    figure = draw_scores(
        {name: (*separated[name][main], metrics[main][name]["threshold"]) for name in names[:DRAWN]},
        title=f"scores ({main.replace('_', ' ')}) of held-out images, by normal class",
    )
    save_plot(report, "scores", figure)
    thresholds = {name: metrics[main][name]["threshold"] for name in examples_of}
    found = {
        name: [(splits.classes[labels[row]], float(scores[name][main][1][row])) for row in rows]
        for name, (rows, _) in examples_of.items()
    }
    pictures = {name: pair for name, (_, pair) in examples_of.items()}
    save_plot(report, "examples", _draw_examples(pictures, found, thresholds, main.replace("_", " ")))


def _draw_examples(
    pictures: Mapping[str, Sequence[np.ndarray]],
    found: Mapping[str, Sequence[tuple[str, float]]],
    thresholds: Mapping[str, float],
    score: str,
) -> "Figure":
    """The telling examples of each detector and their reconstructions, with class and score, in a frame if alarming.

    Args:
      pictures: by detector, an image and its reconstruction for each example.
      found: by detector, (class, score) of each example.
      thresholds: by detector.
      score: its name.
    """
    kinds = ["normal, least", *["normal, greatest"] * WORST, *["anomaly, least"] * WORST, "anomaly, greatest"]
    columns = [name for kind in kinds for name in (kind, "")]
    return draw_grid(
        list(pictures.values()),
        columns=[name.replace(", ", "\n") for name in columns],
        names=[f"normal: {name}\nthreshold {thresholds[name]:.3g}" for name in pictures],
        captions=[
            [text for label, value in row for text in (f"{label}: {value:.3g}", "reconstruction")]
            for row in found.values()
        ],
        frames=[
            [frame for _, value in row for frame in (OTHER if value > thresholds[name] else SAME, None)]
            for name, row in found.items()
        ],
        title=f"examples of least and greatest score ({score}) of each detector: class and score below",
        note="red frame: above the threshold, an alarm; green: not",
    )


def _choice(source: ImageSource, count: int, seed: int) -> ImageSource:
    """All images of a source, or a seeded choice of so many where there are more."""
    if len(source) <= count:
        return source
    return Rows(source, np.sort(np.random.default_rng(seed).permutation(len(source))[:count]))


def _log_metrics(log: Callable[[str], None], metrics: Metrics, main: str, rate: float) -> None:
    """Means over detectors, and the area under the curve of each detector, or, of a single one, of each anomaly."""
    columns = ("auroc", "average_precision", "average_precision_by_chance", "false_alarms", "detected")
    detectors = list(metrics[main])
    many = f"means of {len(detectors)} detectors, " if len(detectors) > 1 else ""
    log(f"held-out images, {many}thresholds set for {rate:.1%} false alarms:")

    def mean(rows: Mapping[str, Mapping[str, object]], name: str) -> float:
        return float(np.mean([row[name] for row in rows.values()]))

    body = [
        [method.replace("_", " "), *(f"{mean(rows, name):.4f}" for name in columns)]
        for method, rows in metrics.items()
    ]
    titles = [name.replace("average_precision_by", "by").replace("_", " ") for name in columns]
    for line in aligned([["", *titles], *body]):
        log(line)
    if len(detectors) > 1:
        log("area under the ROC curve, by normal class:")
        parts = {method: {n: row["auroc"] for n, row in rows.items()} for method, rows in metrics.items()}
    else:
        log(f"area under the ROC curve, normal {detectors[0]} and each anomaly:")
        parts = {
            method: {n: part["auroc"] for n, part in rows[detectors[0]]["by_class"].items()}
            for method, rows in metrics.items()
        }
    names = list(parts[main])
    body = [[method.replace("_", " "), *(f"{row[n]:.3f}" for n in names)] for method, row in parts.items()]
    for line in aligned([["", *names], *body]):
        log(line)
