"""What a classifier of text shows at its end: its results beside baselines, by class, and examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.evals.classification import (
    class_metrics,
    confusions,
    draw_confusions,
    majority,
    probabilities,
    results_by_class,
    tfidf_regression,
)
from ssl_jax.reports.files import save_json, save_plot, save_text
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import MapFunction

BASELINE_EXAMPLES = 100_000
"""Training examples that the tf-idf baseline is fitted to, at most; the first ones."""
SHOWN = 12
"""Examples that are printed."""
MAJORITY, TFIDF, MODEL = "most frequent class", "tf-idf, logistic regression", "model"


class Labelled(NamedTuple):
    """Examples and the numbers of their labels, int `[examples]`."""

    examples: Sequence[LabelledText]
    labels: np.ndarray

    @property
    def texts(self) -> list[str]:
        """The text of each example; both sentences of a pair."""
        return ["\t".join(filter(None, (example.text, example.second))) for example in self.examples]


def text_baselines(train: Labelled, heldout: Labelled) -> dict[str, np.ndarray]:
    """What is predicted of held-out texts without a network, by name."""
    fitted = slice(0, BASELINE_EXAMPLES)
    return {
        MAJORITY: majority(train.labels, len(heldout.labels)),
        TFIDF: tfidf_regression(train.texts[fitted], train.labels[fitted], heldout.texts),
    }


def report_classification(
    report: Report,
    predict: MapFunction,
    names: Sequence[str],
    train: Labelled,
    heldout: Labelled,
    baselines: Callable[[Labelled, Labelled], Mapping[str, np.ndarray]] = text_baselines,
) -> None:
    """Prints tables and examples; writes classification.json, predictions.tsv and plots/confusions.png.

    Args:
      report: of the run.
      predict: `(params, extras, batch) -> {"logits": [batch, classes]}`.
      names: of the classes.
      train: what baselines are fitted to.
      heldout: the examples of the held-out set "heldout", in its order.
      baselines: `(train, heldout) -> predictions` by name.
    """
    chances = probabilities(report.map(predict, report.heldout["heldout"])["logits"])
    if not report.writes:
        return
    model = chances.argmax(-1)
    predictions = {**baselines(train, heldout), MODEL: model}
    metrics = {name: class_metrics(heldout.labels, found, len(names)) for name, found in predictions.items()}
    others = {name: row for name, row in metrics.items() if name != MODEL}
    report.baselines["class_accuracy"] = {name: row["accuracy"] for name, row in others.items()}
    report.baselines["macro_f1"] = {name: row["macro_f1"] for name, row in others.items()}
    counts = confusions(heldout.labels, model, len(names))
    by_class = dict(zip(names, results_by_class(counts), strict=True))

    report.log(f"\n{len(model):,} held-out examples, beside baselines fitted to the training examples:")
    titles = [name.replace("_", " ") for name in metrics[MODEL]]
    cells = [[name, *(f"{100 * value:.1f}" for value in row.values())] for name, row in metrics.items()]
    for line in aligned([["in %", *titles], *cells]):
        report.log(line)
    report.log("\nresults of the model by class:")
    for line in class_table(by_class):
        report.log(line)
    report.log("\nheld-out examples, with their label and the probability of the prediction:")
    for number in _shown(heldout.labels, model):
        chosen = f"{names[model[number]]} {chances[number].max():.0%}"
        mark = "right" if model[number] == heldout.labels[number] else "wrong"
        report.log(f"  {heldout.texts[number]:.100}")
        report.log(f"      {mark}: {names[heldout.labels[number]]}, predicted {chosen}")
    save_json(
        report,
        "classification",
        {"metrics": metrics, "by_class": {name: row._asdict() for name, row in by_class.items()}},
    )
    rows = [
        f"{names[label]}\t{names[found]}\t{chance:.4f}\t{text}"
        for label, found, chance, text in zip(
            heldout.labels, model, chances.max(-1), heldout.texts, strict=True
        )
    ]
    save_text(report, "predictions.tsv", "\n".join(["label\tprediction\tprobability\ttext", *rows, ""]))
    title = f"held-out examples by prediction (accuracy {metrics[MODEL]['accuracy']:.1%})"
    save_plot(report, "confusions", draw_confusions(counts, names, title))


def class_table(by_class: Mapping[str, tuple[float, float, float, int]]) -> list[str]:
    """Lines of a table with a row for each class: precision, recall, F1 and number of examples."""
    rows = [
        [name, *(f"{100 * value:.1f}" for value in scores), f"{examples:,}"]
        for name, (*scores, examples) in by_class.items()
    ]
    return aligned([["in %", "precision", "recall", "F1", "examples"], *rows])


def _shown(labels: np.ndarray, predictions: np.ndarray) -> list[int]:
    """As many right as wrong examples, spread over the set."""
    chosen = []
    for group in (labels == predictions, labels != predictions):
        numbers = np.flatnonzero(group)
        chosen += numbers[
            np.linspace(0, len(numbers) - 1, min(SHOWN // 2, len(numbers))).astype(int)
        ].tolist()
    return chosen
