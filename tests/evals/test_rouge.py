"""ROUGE: equal to rouge-score's (golden vectors), and to values that are worked out by hand."""

import json
from pathlib import Path

import pytest

from ssl_jax.evals.rouge import longest_common_subsequence, mean_rouge, rouge

GOLDEN = json.loads((Path(__file__).parent / "golden" / "rouge.json").read_text())


def test_it_equals_rouge_score_without_stemming():
    for case in GOLDEN:
        assert rouge(case["summary"], case["reference"]) == pytest.approx(case["f1"]), case
    assert sum(case["f1"][1] > 0 for case in GOLDEN) > 5


def test_f1_of_words_pairs_and_the_longest_common_subsequence():
    """Six words and seven: five in common, of which "the" twice; of five and six pairs three; "the cat the mat"."""
    found = rouge("The cat lay on the mat.", "the mat: the cat sat on the")
    assert found.rouge_1 == pytest.approx(2 * 5 / 13)
    assert found.rouge_2 == pytest.approx(2 * 3 / 11)
    assert found.rouge_l == pytest.approx(2 * 4 / 13)


def test_a_repeated_word_counts_as_often_as_the_reference_has_it():
    assert rouge("the the the the", "the cat").rouge_1 == pytest.approx(2 * 1 / 6)


def test_there_is_no_stemming_and_an_empty_text_has_nothing():
    assert rouge("arrays", "array") == (0, 0, 0)
    assert rouge("", "array") == rouge("", "") == (0, 0, 0)


def test_the_mean_is_over_pairs():
    assert mean_rouge(["a b", "c"], ["a b", "d"]) == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="zip"):
        mean_rouge(["a"], [])


def test_the_longest_common_subsequence():
    assert (
        longest_common_subsequence(["a", "b", "c", "b", "d", "a", "b"], ["b", "d", "c", "a", "b", "a"]) == 4
    )
