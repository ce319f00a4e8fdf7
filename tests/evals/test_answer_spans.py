"""Answers from logits: equal to run_squad's (golden vectors), and to the character of the text."""

import math

import numpy as np
import pytest

from ssl_jax.data.fine_tuning_rows import question_rows
from ssl_jax.data.labelled_text import Answer, Question
from ssl_jax.evals.answer_spans import predicted_answers
from tests.data.rows_reference import GOLDEN, WORDPIECE, questions

CASE = GOLDEN["predictions"]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_predictions_and_candidates_equal_run_squad(version, tmp_path):
    asked = questions(CASE["dataset"], tmp_path)
    rows = question_rows(asked, WORDPIECE, *CASE["settings"])
    start, end = np.moveaxis(np.array(CASE["logits"]), 1, 0)
    found = predicted_answers(
        asked,
        rows,
        start,
        end,
        unanswerable=version == "v2",
        threshold=CASE["threshold"],
        best=CASE["best"],
        longest=CASE["longest"],
    )
    expected = CASE[version]
    assert {one.id: one.text for one in found} == expected["texts"]
    for one in found:
        texts, probabilities = zip(*expected["best"][one.id], strict=True)
        assert tuple(candidate.text for candidate in one.candidates) == texts
        np.testing.assert_allclose([candidate.probability for candidate in one.candidates], probabilities)
        assert one.null_difference == pytest.approx(expected["null"].get(one.id, 0.0))


def test_labels_as_logits_give_the_labelled_answers_to_the_character():
    context = "Dr. Café-Müller's  naïve cafe\u0301 in 東京 cost 1,985.50 🙂 in 1985."
    texts = ["Café-Müller", "naïve cafe\u0301", "東", "1,985.50 🙂", "1985", "."]
    asked = [
        Question(str(i), "What was the fox?", context, (Answer(text, context.rindex(text)),))
        for i, text in enumerate(texts)
    ]
    rows = question_rows(asked, WORDPIECE, 56, 20, 10)
    start, end = np.full((2, len(rows.rows), rows.rows.length), -9.0)
    start[:, 0] = end[:, 0] = 0
    for row in range(len(rows.rows)):
        labels = rows.rows(row)
        start[row, labels["start"]] = end[row, labels["end"]] = 9
    found = predicted_answers(asked, rows, start, end, unanswerable=True)
    assert [one.text for one in found] == texts
    assert [one.best.start for one in found] == [question.answers[0].start for question in asked]


def test_no_answer_where_no_span_is_possible():
    asked = [Question("a", "fox", "", ()), Question("b", "fox", "the dog", None)]
    rows = question_rows(asked, WORDPIECE, 16, 4, 4)
    start, end = np.zeros((2, 2, 16))
    start[1, 4], end[1, 3] = 9, 9  # the end before the start
    for unanswerable in (True, False):
        empty, other = predicted_answers(asked, rows, start, end, unanswerable=unanswerable, best=1)
        assert (empty.text, empty.best, other.text, other.best) == ("", None, "", None)
        assert empty.null_difference == (math.inf if unanswerable else 0)


def test_the_threshold_decides_and_padding_does_not():
    asked = [Question("a", "fox", "the dog", None)]
    rows = question_rows(asked, WORDPIECE, 16, 4, 4)
    start, end = np.zeros((2, 1, 16))
    start[0, 4] = end[0, 4] = 1  # "dog"
    start[0, 7:] = end[0, 7:] = 99
    predict = lambda threshold: predicted_answers(  # noqa: E731
        asked, rows, start, end, unanswerable=True, threshold=threshold, best=3
    )[0]
    assert predict(0.0).null_difference == -2
    assert predict(-2.0).text == "dog"
    assert predict(-2.1).text == ""
