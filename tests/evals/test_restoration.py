"""What counts as restored, the counting it is compared with, how rows are made whole, and how they are printed."""

from collections import Counter

import numpy as np
import pytest

from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.evals.restoration import (
    Counts,
    count_restored,
    filled_fragment,
    filled_spans,
    readable,
    side_by_side,
    whole_text,
)


def test_a_row_is_exact_only_as_a_whole_and_hidden_tokens_are_those_that_were_not_shown():
    originals = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]
    shown = [[1, 4], [5, 6], [9]]
    restored = [[1, 2, 4], [5, 6], [7, 8, 9, 9, 9]]
    metrics = count_restored(shown, restored, originals)
    assert metrics.exact == 1 / 3
    assert metrics.tokens == (3 + 2 + 3) / (4 + 2 + 5)
    assert metrics.hidden == (1 + 0 + 2) / (2 + 0 + 2)


def test_order_counts():
    metrics = count_restored([[3, 4, 1, 2]], [[3, 4, 1, 2]], [[1, 2, 3, 4]])
    assert metrics == (0, 2 / 4, 0)
    assert count_restored([[3, 4, 1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4]]) == (1, 1, 1)


def test_nothing_hidden_is_no_division_by_zero():
    assert count_restored([[1, 2]], [[1]], [[1, 2]]) == (0, 1 / 2, 0)


def test_counting_is_that_of_a_loop_over_the_text():
    rng = np.random.default_rng(0)
    text = rng.integers(1, 12, 400)
    counts = Counts(text, 20)

    def commonest(values):
        tally = Counter(values)
        return min(tally, key=lambda value: (-tally[value], value)) if tally else None

    after = {left: commonest(text[1:-1][text[:-2] == left]) for left in range(20)}
    expected = [after[left] if after[left] is not None else commonest(text) for left in range(20)]
    np.testing.assert_array_equal(counts.after(np.arange(20)), expected)

    source, blank = np.array([3, 15, 7, 15, 15, 9]), np.array([0, 1, 0, 1, 1, 0], bool)

    def between(left, right):
        places = (text[:-2] == left) & (text[2:] == right)
        found = commonest(text[1:-1][places])
        return expected[left] if found is None else found

    third = expected[7]
    assert counts.fill(source, blank) == [3, between(3, 7), 7, third, between(third, 9), 9]
    assert counts.fill(np.array([15]), np.array([True])) == [commonest(text)]


def test_rows_are_made_whole():
    none = np.zeros(3, bool)
    assert whole_text(np.array([1, 2, 3]), none, np.array([4, 5])) == [4, 5]

    source, blank = np.array([2, 9, 9, 9, 5, 3]), np.array([0, 1, 1, 1, 0, 0], bool)
    assert filled_fragment(source, blank, np.array([6, 7, 8])) == [2, 6, 7, 8, 5, 3]
    assert filled_fragment(source, blank, np.array([6])) == [2, 6, 5, 3]
    assert filled_fragment(source, blank, np.array([6, 7, 8, 8, 8])) == [2, 6, 7, 8, 5, 3]

    source, blank = np.array([10, 99, 11, 98, 3]), np.array([0, 1, 0, 1, 0], bool)
    assert filled_spans(source, blank, np.array([99, 1, 2, 98, 4])) == [10, 1, 2, 11, 4, 3]
    assert filled_spans(source, blank, np.array([98, 4])) == [10, 11, 4, 3]
    assert filled_spans(source, blank, np.array([7, 99, 1])) == [10, 1, 11, 3]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(["the shape of an array along an axis"] * 20, 40)


def test_special_tokens_are_read_by_name_or_left_out(tokenizer):
    an, array = tokenizer.encode("an"), tokenizer.encode("array")
    special, beyond = tokenizer.special, tokenizer.vocab_size + 7
    names = {special.mask: "[MASK]", beyond: "<0>"}
    tokens = [special.cls, *an, special.mask, special.mask, *array, beyond, special.sep, special.pad]
    assert readable(tokens, tokenizer, names) == "an [MASK] [MASK] array <0>"
    assert readable([], tokenizer, names) == ""


def test_words_stand_below_those_of_the_original():
    texts = {
        "corrupted": "the [MASK] an array [MASK] are",
        "restored": "the few elements of an array are",
        "original": "the elements of an array which are",
    }
    lines = side_by_side(texts)
    assert lines == [
        "corrupted    the     [MASK]      an array [MASK] are",
        "restored  the few elements of an array        are",
        "original  the     elements of an array which  are",
    ]
    assert "the few" in lines[1]


def test_long_rows_are_wrapped_and_lose_no_word():
    rng = np.random.default_rng(0)
    original = [f"word{i}" for i in range(60)]
    corrupted = [word for word in original if rng.random() < 0.7]
    lines = side_by_side({"corrupted": " ".join(corrupted), "original": " ".join(original)}, width=60)
    assert max(map(len, lines)) <= 60
    assert " ".join(lines[0::3]).replace("corrupted", "").split() == corrupted
    assert " ".join(lines[1::3]).replace("original", "").split() == original
    assert side_by_side({"corrupted": "", "original": ""}) == ["corrupted", "original"]
