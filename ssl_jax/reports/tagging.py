"""What a model of tagged words shows at its end: its results beside the most frequent tag, and sentences."""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.evals.classification import confusions, draw_confusions, results_by_class
from ssl_jax.evals.entities import entity_scores_of_ids
from ssl_jax.evals.tagging import mark_entities, most_frequent_tags, tag_metrics
from ssl_jax.reports.classification import class_table
from ssl_jax.reports.files import save_json, save_plot, save_text
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

SHOWN = 8
"""Sentences that are printed."""
DRAWN_TAGS = 30
"""Most tags of a picture of confusions."""
BASELINE, MODEL = "most frequent tag of a word", "model"


def report_tagging(
    report: Report,
    tags: Sequence[str],
    train: tuple[Sequence[TaggedWords], np.ndarray],
    heldout: tuple[Sequence[TaggedWords], np.ndarray],
    model: np.ndarray,
) -> None:
    """Prints tables and sentences; writes tagging.json, predictions.tsv and plots/confusions.png.

    Args:
      report: of the run.
      tags: their names.
      train: sentences that the baseline is counted in, and the tags of their words, int `[words]`.
      heldout: held-out sentences, and the tags of their words.
      model: the predicted tags of the held-out words, int `[words]`.
    """
    if not report.writes:
        return
    sentences, labels = heldout
    words = [word for sentence in sentences for word in sentence.words]
    lengths = np.array([len(sentence.words) for sentence in sentences])
    seen = [word for sentence in train[0] for word in sentence.words]
    predictions = {BASELINE: most_frequent_tags(seen, train[1], words), MODEL: model}
    metrics = {name: tag_metrics(labels, found, lengths, tags) for name, found in predictions.items()}

    report.baselines.update({name: {BASELINE: value} for name, value in metrics[BASELINE].items()})
    report.log(f"\n{len(labels):,} words of {len(sentences):,} held-out sentences, beside a baseline:")
    titles = [name.replace("_", " ") for name in metrics[MODEL]]
    cells = [[name, *(f"{100 * value:.1f}" for value in row.values())] for name, row in metrics.items()]
    for line in aligned([["in %", *titles], *cells]):
        report.log(line)
    known = labels >= 0
    counts = confusions(labels[known], model[known], len(tags))
    if mark_entities(tags):
        _, by_type = entity_scores_of_ids(labels, model, lengths, tags)
        by_class = {
            name: (found.precision, found.recall, found.f1, found.labelled) for name, found in by_type.items()
        }
        report.log("\nentities by type:")
    else:
        by_class = {name: tuple(row) for name, row in zip(tags, results_by_class(counts), strict=True)}
        report.log("\nwords by tag:")
    for line in class_table(by_class):
        report.log(line)
    report.log(
        "\nheld-out sentences with the predicted tags, and below each its errors (label -> prediction):"
    )
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    for number in np.linspace(0, len(sentences) - 1, min(SHOWN, len(sentences))).astype(int):
        own = slice(bounds[number], bounds[number + 1])
        report.log(f"  {' '.join(_marked(words[own], model[own], tags)):.200}")
        wrong = [
            f"{word} {tags[label]} -> {tags[found]}"
            for word, label, found in zip(words[own], labels[own], model[own], strict=True)
            if 0 <= label != found
        ]
        report.log(f"      {'; '.join(wrong)[:160] or 'all right'}")
    fields = ("precision", "recall", "f1", "examples")
    save_json(
        report,
        "tagging",
        {
            "metrics": metrics,
            "by_class": {name: dict(zip(fields, row, strict=True)) for name, row in by_class.items()},
        },
    )
    rows = []
    for number in range(len(sentences)):
        own = slice(bounds[number], bounds[number + 1])
        for word, label, found in zip(words[own], labels[own], model[own], strict=True):
            rows.append(f"{word}\t{tags[label] if label >= 0 else '_'}\t{tags[found]}")
        rows.append("")
    save_text(report, "predictions.tsv", "\n".join([*rows, ""]))
    if len(tags) <= DRAWN_TAGS:
        save_plot(report, "confusions", draw_confusions(counts, tags, "held-out words by predicted tag"))


def _marked(words: Sequence[str], predicted: np.ndarray, tags: Sequence[str]) -> list[str]:
    """The words, with the predicted tag at those that are not O."""
    return [
        word if tags[tag] == "O" else f"{word}/{tags[tag]}"
        for word, tag in zip(words, predicted, strict=True)
    ]
