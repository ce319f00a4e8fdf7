"""What a question answerer shows at its end: its scores beside baselines, and questions with their answers."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from ssl_jax.data.labelled_text import Question
from ssl_jax.evals.answer_spans import Prediction
from ssl_jax.reports.files import save_json
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

SHOWN = 10
"""Questions that are printed."""
NOTHING, FREQUENT, MODEL = "no answer", "most frequent answer in the text", "model"

Metrics = Callable[[dict[str, str]], dict[str, float]]
"""`answers by id -> metrics`."""


def report_answers(
    report: Report,
    train: Sequence[Question],
    heldout: Sequence[Question],
    found: Sequence[Prediction],
    metrics: Metrics,
) -> None:
    """Prints a table and questions; writes answers.json and predictions.json, which the official scorer reads.

    Args:
      report: of the run.
      train: what the baseline is counted in.
      heldout: the questions.
      found: their answers.
      metrics: of the held-out questions.
    """
    if not report.writes:
        return
    predictions = {one.id: one.text for one in found}
    rows = {
        NOTHING: metrics({question.id: "" for question in heldout}),
        FREQUENT: metrics(most_frequent_answers(train, heldout)),
        MODEL: metrics(predictions),
    }
    for metric in rows[MODEL]:
        report.baselines[metric] = {name: rows[name][metric] for name in (NOTHING, FREQUENT)}
    report.log(f"\n{len(heldout):,} held-out questions, beside baselines:")
    titles = [name.replace("_", " ") for name in rows[MODEL]]
    cells = [[name, *(f"{100 * value:.1f}" for value in row.values())] for name, row in rows.items()]
    for line in aligned([["in %", *titles], *cells]):
        report.log(line)
    report.log("\nheld-out questions:")
    for number in np.linspace(0, len(heldout) - 1, min(SHOWN, len(heldout))).astype(int):
        question = heldout[number]
        right = question.answers[0].text if question.answers else "(no answer)"
        report.log(f"  {question.context:.150}")
        report.log(f"      {question.question} {right}; predicted {found[number].text or '(no answer)'}")
    save_json(report, "answers", rows)
    save_json(report, "predictions", predictions)


def most_frequent_answers(train: Sequence[Question], questions: Sequence[Question]) -> dict[str, str]:
    """For every question the most frequent answer of the training data that is in its text; "" if there is none."""
    counts = Counter(answer.text for question in train for answer in question.answers or ())
    ranked = [text for text, _ in counts.most_common(1000)]
    return {
        question.id: next((text for text in ranked if text in question.context), "") for question in questions
    }
