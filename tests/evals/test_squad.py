"""Scores of SQuAD 1.1 and 2.0: equal to the official scripts' (golden vectors), and questions without a prediction."""

import json
from pathlib import Path

import pytest

from ssl_jax.data.labelled_text import Answer, Question
from ssl_jax.evals.squad import exact_match, normalized, squad_v1, squad_v2, word_f1

GOLDEN = json.loads((Path(__file__).parent / "golden" / "squad.json").read_text())
QUESTIONS = [
    Question(name, "", "", tuple(Answer(text, 0) for text in answers)) for name, answers in GOLDEN["entries"]
]
ANSWERABLE = [question for question in QUESTIONS if question.answers]
PARTIAL = {name: text for name, text in GOLDEN["predictions"].items() if int(name[1:]) % 4}


@pytest.mark.parametrize(("predictions", "name"), [(GOLDEN["predictions"], "v1"), (PARTIAL, "v1_partial")])
def test_version_1(predictions, name):
    found = squad_v1(ANSWERABLE, predictions)
    assert (found.exact, found.f1) == pytest.approx((GOLDEN[name]["exact_match"], GOLDEN[name]["f1"]))
    assert found.total == len(ANSWERABLE)
    assert found.missing == sum(question.id not in predictions for question in ANSWERABLE)


def assert_equal(found, official):
    for part, prefix in ((found.overall, ""), (found.has_answer, "HasAns_"), (found.no_answer, "NoAns_")):
        assert part.exact == pytest.approx(official[f"{prefix}exact"])
        assert part.f1 == pytest.approx(official[f"{prefix}f1"])
        assert (part.total, part.missing) == (official[f"{prefix}total"], 0)
    for best, name in ((found.best_exact, "exact"), (found.best_f1, "f1")):
        assert best.score == pytest.approx(official[f"best_{name}"])
        assert best.threshold == official[f"best_{name}_thresh"]


@pytest.mark.parametrize("threshold", ["1.0", "0.5"])
def test_version_2(threshold):
    found = squad_v2(QUESTIONS, GOLDEN["predictions"], GOLDEN["evidence"], float(threshold))
    assert_equal(found, GOLDEN["v2"][threshold])


def test_version_2_where_no_answer_is_best():
    wrong = dict.fromkeys(GOLDEN["predictions"], "wrong")
    assert_equal(squad_v2(QUESTIONS, wrong, GOLDEN["evidence"]), GOLDEN["v2_worse"])
    assert GOLDEN["v2_worse"]["best_exact_thresh"] == 0


def test_a_question_without_a_prediction_scores_0_in_version_2_too():
    asked = [Question("a", "", "", (Answer("x", 0),)), Question("b", "", "", ())]
    found = squad_v2(asked, {"a": "x"})
    assert (found.overall.exact, found.overall.missing) == (50.0, 1)
    assert (found.no_answer.exact, found.no_answer.total, found.no_answer.missing) == (0.0, 1, 1)
    assert squad_v2(asked, {"a": "x"}, {"b": 9.0}).no_answer.exact == 0.0
    only = squad_v2(asked[:1], {"a": "x"})
    assert (only.has_answer.exact, only.no_answer) == (100.0, None)


def test_answers_are_compared_without_case_punctuation_and_articles():
    assert normalized(" The  U.S. (a) theory, an\u00a0Ape’s ") == "us theory ape’s"
    assert exact_match("the Cat!", "cat") == 1.0
    assert word_f1("...", "the") == 1.0  # neither has a word
    assert word_f1("...", "cat") == 0.0
    assert word_f1("cat cat dog", "cat dog dog") == pytest.approx(2 / 3)
