"""Questions from SQuAD's JSON: answers to the character, unanswerable questions, and mistakes by question."""

import copy
import json

import pytest

from ssl_jax.data.labelled_text import Answer
from ssl_jax.data.squad import read_squad
from ssl_jax.errors import UserError
from tests.data.test_labelled_text import written

CONTEXT = "Die Größe 🙂 von Ångström."
FILE = {
    "version": "v2.0",
    "data": [
        {
            "title": "Physics",
            "paragraphs": [
                {
                    "context": CONTEXT,
                    "qas": [
                        {
                            "id": "a",
                            "question": "Wer?",
                            "answers": [
                                {"text": "Ångström", "answer_start": 16},
                                {"text": "🙂", "answer_start": 10},
                            ],
                            "is_impossible": False,
                        },
                        {
                            "id": "b",
                            "question": "Wo?",
                            "answers": [],
                            "plausible_answers": [{"text": "Die", "answer_start": 0}],
                            "is_impossible": True,
                        },
                    ],
                },
            ],
        },
        {"paragraphs": [{"context": "x", "qas": [{"id": "c", "question": "Was?"}]}]},
    ],
}


def test_questions_and_their_answers(tmp_path):
    found = read_squad(written(tmp_path, "\ufeff" + json.dumps(FILE, indent=1), "dev.json"))
    assert [(q.id, q.question, q.answers, q.document) for q in found] == [
        ("a", "Wer?", (Answer("Ångström", 16), Answer("🙂", 10)), "Physics"),
        ("b", "Wo?", (), "Physics"),
        ("c", "Was?", None, "article 2"),
    ]
    for answer in found[0].answers:
        assert found[0].context[answer.start : answer.start + len(answer.text)] == answer.text
    assert found[0].place.endswith("dev.json', question 'a'")


def change(path, value):
    """The file with another value; None removes the key."""
    changed = copy.deepcopy(FILE)
    *inner, last = path
    place = changed
    for key in inner:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return changed


QUESTION = ("data", 0, "paragraphs", 0, "qas", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((*QUESTION, "answers", 0, "answer_start"), 15, "question 'a': its answer 'Ångström' is not at character 15 of "
         "the context, which has ' Ångströ' there; it is at character 16"),
        ((*QUESTION, "answers", 1), {"text": "Die", "answer_start": -1}, "is not at character -1"),
        ((*QUESTION, "answers", 1, "text"), "Angstrom", "the context does not have it"),
        ((*QUESTION, "answers", 1, "text"), " ", "question 'a': an answer is empty"),
        ((*QUESTION, "answers", 1, "text"), 3, "question 'a': 'text' is '3'; expected a text"),
        ((*QUESTION, "answers", 1), "x", "question 'a': it has no 'text'"),
        ((*QUESTION, "answers"), [], "question 'a': it has no answer although is_impossible is false"),
        ((*QUESTION, "is_impossible"), True, "question 'a': it has an answer although is_impossible is true"),
        ((*QUESTION, "id"), "b", "question 'b': another question has the same id"),
        ((*QUESTION, "id"), None, "article 1: it has no 'id'"),
        ((*QUESTION, "question"), None, "question 'a': it has no 'question'"),
        (("data", 1, "paragraphs", 0, "context"), None, "article 2: it has no 'context'"),
        (("data",), {}, "'data' is '{}'; expected a list"),
        (("data",), [], "it has no question"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, path, value, message):
    with pytest.raises(UserError, match=message) as error:
        read_squad(written(tmp_path, json.dumps(change(path, value)), "dev.json"))
    assert "dev.json" in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not JSON"),
        ("a.json", "[]", "it has no 'data'"),
        ("a.txt", "{}", "expected a .json file"),
    ],
)
def test_other_files(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message):
        read_squad(written(tmp_path, text, name))
