"""Tokens as they are read, and texts with their words aligned."""

import numpy as np
import pytest

from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.reports.side_by_side import readable, side_by_side


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
        "denoised": "the few elements of an array are",
        "original": "the elements of an array which are",
    }
    lines = side_by_side(texts)
    assert lines == [
        "corrupted  the     [MASK]      an array [MASK] are",
        "denoised   the few elements of an array        are",
        "original   the     elements of an array which  are",
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
