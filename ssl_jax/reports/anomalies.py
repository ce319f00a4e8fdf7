"""What an experiment that detects anomalies shows at its end: figures beside other methods, score plots, examples."""

from collections.abc import Callable, Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.image_source import ImageSource, Rows
from ssl_jax.data.one_class import OneClassSplits
from ssl_jax.evals.anomaly import classical_scores, code_distances, combined, judge
from ssl_jax.evals.anomaly_plots import draw_roc, draw_scores
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.evals.tables import aligned
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.one_class import Detectors
from ssl_jax.training.experiment import Report, Represented
from ssl_jax.training.folder import write_json, writing

LEARNED = ("reconstruction", "code_distance", "both", "likelihood")
"""Scores of the autoencoders: the plain one's error, the distance of its code, the sum of the two, and minus the
variational one's bound of the likelihood."""

DRAWN = 10
"""Detectors in a picture, at most."""
WORST = 2
"""Images of each kind of mistake in the picture of examples."""

Scores = dict[str, tuple[np.ndarray, np.ndarray]]
"""By method, those of (validation, held-out) images."""
Metrics = dict[str, dict[str, Mapping[str, object]]]
"""By method, then by detector: what `judge` finds."""


def report_anomalies(
    report: Report,
    made: Detectors,
    *,
    code_size: int,
    main: str,
    false_alarm_rate: float,
    examples: int,
    seed: int,
) -> None:
    """How well each detector tells the held-out anomalies from what is normal, beside methods without a network.

    Args:
      code_size: PCA has as many components.
      main: the score that is drawn and whose examples are shown, of `LEARNED`.
      examples: normal training images of a detector that distances and the other methods are fitted to, at most.
    """
    splits: OneClassSplits = report.data.details
    names, normal = splits.names, splits.normal

    def pixels(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        images = made.preprocess(batch)
        return images.reshape(images.shape[0], -1)

    def pairs(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        images = made.preprocess(batch)
        both = jnp.stack([images, made.rebuild(params, images)], 1)
        return both.reshape(both.shape[0], -1)

    def seen(source: ImageSource) -> Represented:
        return report.represent(pixels, {"params": {}}, grain.MapDataset.source(source))

    flat, labels = seen(splits.heldout)
    found: dict[str, Scores] = {}
    pictures = []
    for place, name in enumerate(names):
        own = {"params": jax.tree.map(lambda leaf, place=place: leaf[place], report.variables["params"])}
        sources = _some(splits.train[place], examples, seed), splits.validation[place]
        found[name] = _learned(report, made, own, (*sources, splits.heldout))
        if len(pictures) < DRAWN:
            rows = telling(found[name][main][1], normal[place][labels])
            shown = grain.MapDataset.source(Rows(splits.heldout, rows))
            pictures.append(report.represent(pairs, own, shown).features.reshape(-1, *made.shape))
        fitted, validation = (seen(source).features for source in sources)
        if report.writes:
            others = classical_scores(fitted, validation, flat, components=code_size, seed=seed)
            found[name] |= {method: tuple(scores) for method, scores in others.items()}
    if not report.writes:
        return
    metrics: Metrics = {
        method: {
            name: judge(*found[name][method], labels, normal[place], splits.classes, false_alarm_rate)
            for place, name in enumerate(names)
        }
        for method in found[names[0]]
    }
    _log(report.log, metrics, main, false_alarm_rate)
    plots = report.folder / "plots"
    apart = {
        name: {
            method: (scores[normal[place][labels]], scores[~normal[place][labels]])
            for method, (_, scores) in found[name].items()
        }
        for place, name in enumerate(names)
    }
    with writing(report.folder):
        write_json(report.folder / "anomalies.json", metrics)
        draw_roc(
            {method.replace("_", " "): [apart[name][method] for name in names] for method in metrics},
            plots / "roc.png",
            title="held-out images" + (f", mean of {len(names)} detectors" if len(names) > 1 else ""),
        )
        draw_scores(
            {name: (*apart[name][main], metrics[main][name]["threshold"]) for name in names[:DRAWN]},
            plots / "scores.png",
            title=f"scores ({main.replace('_', ' ')}) of held-out images, by what is normal",
        )
        kinds = ["calmest", *["false alarm?"] * WORST, *["missed?"] * WORST, "strangest"]
        draw_grid(
            [list(row) for row in pictures],
            plots / "examples.png",
            columns=[word for kind in kinds for word in (kind, "rebuilt")],
            title="a row for each detector: normal images by least and greatest score, anomalies likewise",
        )


def telling(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Rows of the best and worst examples: the normal one of least score, the normal ones of greatest score, the
    anomalies of least score, and the anomaly of greatest score.

    scores, normal: `[examples]`. Where there are few, one is repeated.
    """
    order = np.argsort(scores, kind="stable")
    calm, strange = order[normal[order]], order[~normal[order]]
    return np.concatenate(
        [calm[:1], np.resize(calm[::-1][:WORST], WORST), np.resize(strange[:WORST], WORST), strange[-1:]]
    )


def _some(source: ImageSource, most: int, seed: int) -> ImageSource:
    """The images, or a seeded choice of so many."""
    if len(source) <= most:
        return source
    return Rows(source, np.sort(np.random.default_rng(seed).permutation(len(source))[:most]))


def _learned(
    report: Report, made: Detectors, own: Mapping[str, Tree], sources: tuple[ImageSource, ...]
) -> Scores:
    """One detector's scores of the second and third source; the first is what distances of codes are fitted to."""
    fitted, *shown = (
        report.represent(made.examine, own, grain.MapDataset.source(source)).features for source in sources
    )
    distances = code_distances(fitted[:, 2:], *(x[:, 2:] for x in shown))
    errors = [x[:, 0] for x in shown]
    both = combined((errors[0], distances[0]), list(zip(errors, distances, strict=True)))
    likelihoods = [x[:, 1] for x in shown]
    scores = (errors, distances, both, likelihoods)
    return {name: tuple(each) for name, each in zip(LEARNED, scores, strict=True)}


def _log(log: Callable[[str], None], metrics: Metrics, main: str, rate: float) -> None:
    """Means over detectors, and the area under the curve of each detector, or, of a single one, of each anomaly."""

    def mean(rows: Mapping[str, Mapping[str, object]], name: str) -> float:
        return float(np.mean([row[name] for row in rows.values()]))

    columns = ("auroc", "average_precision", "false_alarms", "detected")
    detectors = list(metrics[main])
    many = f"means of {len(detectors)} detectors, " if len(detectors) > 1 else ""
    log(f"held-out images, {many}thresholds set for {rate:.1%} false alarms:")
    body = [
        [method.replace("_", " "), *(f"{mean(rows, name):.4f}" for name in columns)]
        for method, rows in metrics.items()
    ]
    for line in aligned([["", *(name.replace("_", " ") for name in columns)], *body]):
        log(line)
    if len(detectors) > 1:
        log("area under the ROC curve, by what is normal:")
        parts = {method: {n: row["auroc"] for n, row in rows.items()} for method, rows in metrics.items()}
    else:
        log(f"area under the ROC curve, normal {detectors[0]} and each anomaly:")
        parts = {
            method: {n: part["auroc"] for n, part in rows[detectors[0]]["by_class"].items()}
            for method, rows in metrics.items()
        }
    names = list(parts[main])
    for line in aligned(
        [
            ["", *names],
            *([method.replace("_", " "), *(f"{row[n]:.3f}" for n in names)] for method, row in parts.items()),
        ]
    ):
        log(line)
