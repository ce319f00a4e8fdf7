"""Metrics of tagged words, and the tag that a word has most often."""

import numpy as np
import pytest

from ssl_jax.evals.tagging import mark_entities, most_frequent_tags, tag_metrics


def test_entities_are_scored_as_entities():
    tags = ("B-X", "I-X", "O")
    assert mark_entities(tags)
    labels = np.array([0, 1, 2, 0, 2])  # one of two words, one of one word in the second sentence
    found = tag_metrics(labels, np.array([0, 2, 2, 0, 2]), np.array([3, 2]), tags)
    assert found == pytest.approx({"entity_precision": 0.5, "entity_recall": 0.5, "entity_f1": 0.5})


def test_other_tags_are_scored_word_by_word():
    tags = ("NOUN", "VERB")
    assert not mark_entities(tags)
    found = tag_metrics(np.array([0, 1, 1, -1]), np.array([0, 1, 0, 1]), np.array([4]), tags)
    assert found == pytest.approx({"word_accuracy": 2 / 3, "macro_f1": 2 / 3})


def test_the_most_frequent_tag():
    words, tags = ["a", "b", "a", "a", "c"], np.array([1, 0, 2, 2, 0])
    assert most_frequent_tags(words, tags, ["a", "b", "new"]).tolist() == [2, 0, 0]
