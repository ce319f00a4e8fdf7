"""Scores of named entities: equal to seqeval's (golden vectors), also for tags in an order that is not allowed."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_jax.evals.entities import entity_scores, entity_scores_of_ids

GOLDEN = json.loads((Path(__file__).parent / "golden" / "entities.json").read_text())


def test_all_cases_are_there():
    assert len(GOLDEN) == 14


@pytest.mark.parametrize("case", GOLDEN)
def test_scores_equal_seqeval(case):
    total, by_type = entity_scores(case["labels"], case["predictions"])
    found = {**by_type, "micro avg": total}
    assert set(found) == set(case["report"])
    for name, (precision, recall, f1, labelled) in case["report"].items():
        score = found[name]
        assert (score.precision, score.recall, score.f1) == pytest.approx((precision, recall, f1), abs=1e-12)
        assert score.labelled == labelled


def test_counts_and_other_prefixes():
    total, by_type = entity_scores([["B-X", "I-X", "Q-X", "B-Y"]], [["B-X", "I-X", "O", "O"]])
    assert (total.labelled, total.predicted, total.right) == (2, 1, 1)
    assert by_type["Y"] == (0.0, 0.0, 0.0, 1, 0, 0)
    assert entity_scores([["O", "B-X", "O", "I"]], [["O", "O", "O", "I"]])[1]["_"].right == 1
    assert entity_scores([], [])[0] == (0.0, 0.0, 0.0, 0, 0, 0)
    assert entity_scores([[], ["O"]], [[], ["O"]])[1] == {}


def test_by_number():
    tags = ["O", "B-X", "I-X"]
    labels, predictions = np.array([1, 2, 0, 1, 2]), np.array([1, 2, 0, 1, 0])
    total, _ = entity_scores_of_ids(labels, predictions, np.array([3, 2]), tags)
    assert (total.labelled, total.predicted, total.right) == (2, 2, 1)


@pytest.mark.parametrize("other", [[["O"]], [["O", "O"], ["O", "O"]]])
def test_other_numbers_of_words_are_refused(other):
    with pytest.raises(ValueError, match="different numbers"):
        entity_scores([["O", "O"], ["O"]], other)
