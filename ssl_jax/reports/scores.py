"""What a model of scores shows at its end: its correlations beside a baseline, and the largest errors."""

import numpy as np

from ssl_jax.evals.classification import correlations, tfidf_scores
from ssl_jax.evals.plots import COLOURS, new_axes
from ssl_jax.reports.classification import BASELINE_EXAMPLES, Labelled
from ssl_jax.reports.files import save_json, save_plot, save_text
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import MapFunction

SHOWN = 6
"""Pairs that are printed."""
MEAN, TFIDF, MODEL = "mean score", "tf-idf, ridge regression", "model"


def report_scores(report: Report, predict: MapFunction, train: Labelled, heldout: Labelled) -> None:
    """Prints a table and the largest errors; writes scores.json, predictions.tsv and plots/scores.png.

    Args:
      report: of the run.
      predict: `(params, extras, batch) -> {"score": [batch]}`.
      train: what the baselines are fitted to.
      heldout: the examples of the held-out set "heldout", in its order.
    """
    model = report.map(predict, report.heldout["heldout"])["score"]
    if not report.writes:
        return
    fitted = slice(0, BASELINE_EXAMPLES)
    predictions = {
        MEAN: np.full(len(model), train.labels.mean()),
        TFIDF: tfidf_scores(train.texts[fitted], train.labels[fitted], heldout.texts),
        MODEL: model,
    }
    metrics = {}
    for name, found in predictions.items():
        error = float(np.sqrt(np.square(found - heldout.labels).mean()))
        known = {k: v for k, v in correlations(heldout.labels, found).items() if np.isfinite(v)}
        metrics[name] = {"root_mean_square_error": error, **known}
    for metric in metrics[MODEL]:
        report.baselines[metric] = {
            name: row[metric] for name, row in metrics.items() if name != MODEL and metric in row
        }
    titles = [*metrics[MODEL]]
    cells = [[name, *(f"{row[t]:.3f}" if t in row else "-" for t in titles)] for name, row in metrics.items()]
    report.log(f"\n{len(model):,} held-out examples, beside baselines fitted to the training examples:")
    for line in aligned([["", *(title.replace("_", " ") for title in titles)], *cells]):
        report.log(line)
    report.log("\nheld-out examples with the largest errors:")
    for number in np.argsort(-np.abs(model - heldout.labels))[:SHOWN]:
        report.log(f"  {heldout.texts[number]:.160}")
        report.log(f"      score {heldout.labels[number]:g}, predicted {model[number]:.2f}")
    save_json(report, "scores", metrics)
    rows = [
        f"{score:g}\t{found:.4f}\t{text}"
        for score, found, text in zip(heldout.labels, model, heldout.texts, strict=True)
    ]
    save_text(report, "predictions.tsv", "\n".join(["score\tprediction\ttext", *rows, ""]))
    figure, axes = new_axes(title="held-out examples", width=4.6)
    axes.plot(heldout.labels, model, ".", color=COLOURS[0], alpha=0.5)
    axes.set_xlabel("score")
    axes.set_ylabel("prediction")
    save_plot(report, "scores", figure)
