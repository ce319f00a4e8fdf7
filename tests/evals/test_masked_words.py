"""Masked words: which are chosen, what the model receives, and how its guesses are read."""

import random

import numpy as np
import pytest

from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.evals.masked_words import BLANKS, GUESSES, mask_words, maskable_tokens, read_guesses

TEXT = "the shape of an array along an axis"
LENGTH = 20


@pytest.fixture(scope="module")
def tokenizer():
    """Every word of the text is a token."""
    chance = random.Random(0)
    return train_sentencepiece([" ".join(chance.choices(TEXT.split(), k=8)) for _ in range(300)], 50)


@pytest.fixture(scope="module")
def rows(tokenizer):
    """Rows of [CLS] text [SEP] and padding; the second has no text."""
    special = tokenizer.special
    made = []
    for text in (TEXT, "", *[TEXT] * 7):
        tokens = [special.cls, *tokenizer.encode(text), special.sep]
        row = np.full(LENGTH, special.pad, np.int32)
        row[: len(tokens)] = tokens
        segment_ids = (np.arange(LENGTH) < len(tokens)).astype(np.int32)
        made.append({"tokens": row, "segment_ids": segment_ids, "token_type_ids": 0 * segment_ids})
    return made


def test_a_whole_word_is_masked_in_each_row_that_has_one(rows, tokenizer):
    masked = mask_words(rows, tokenizer)
    assert masked.positions.shape == (BLANKS, 1)
    for number, (position,) in enumerate(masked.positions):
        row = np.delete(rows, 1)[number]
        assert tokenizer.decode([int(masked.originals[number])]) in {"shape", "array", "along", "axis"}
        assert masked.batch["tokens"][number, position] == tokenizer.special.mask
        kept = np.arange(LENGTH) != position
        np.testing.assert_array_equal(masked.batch["tokens"][number, kept], row["tokens"][kept])
        assert row["tokens"][position] == masked.originals[number]


def test_rows_keep_the_positions_of_packed_documents(rows, tokenizer):
    packed = [{**row, "positions": np.arange(LENGTH) % 3} for row in rows]
    masked = mask_words(packed, tokenizer)
    np.testing.assert_array_equal(masked.batch["positions"], [np.arange(LENGTH) % 3] * BLANKS)
    assert "positions" not in mask_words(rows, tokenizer).batch


def test_rows_without_words(rows, tokenizer):
    assert mask_words(rows[1:2], tokenizer) is None


def test_guesses_are_the_most_probable_tokens(rows, tokenizer):
    masked = mask_words(rows, tokenizer)
    logits = np.full((BLANKS, 1, tokenizer.vocab_size + 3), -np.inf, np.float32)
    logits[:, 0, -1] = np.log(2)  # of an id without a piece
    logits[np.arange(BLANKS), 0, masked.originals] = np.log(0.75)
    logits[:, 0, tokenizer.encode("the")[0]] = np.log(0.25)
    for word in read_guesses(masked, logits, tokenizer):
        assert [guess for guess, _ in word.guesses[:2]] == [word.original, "the"]
        assert [share for _, share in word.guesses[:2]] == pytest.approx([0.25, 0.25 / 3])
        assert len(word.guesses) == GUESSES
        text = word.context.removeprefix("... ").removesuffix(" ...").replace("____", word.original)
        assert text.split() == TEXT.split()


def test_special_tokens_padding_and_the_ends_of_a_row_are_not_masked(rows, tokenizer):
    tokens, segment_ids = (np.stack([row[name] for row in rows]) for name in ("tokens", "segment_ids"))
    maskable = maskable_tokens(tokens, segment_ids, tokenizer.special)
    for row, mask in zip(tokens, maskable, strict=True):
        text = tokenizer.encode(TEXT) if row[1] != tokenizer.special.sep else []
        assert row[mask].tolist() == text
    full = np.full((1, 4), tokenizer.encode("the")[0])
    assert maskable_tokens(full, np.ones((1, 4)), tokenizer.special).tolist() == [[False, True, True, False]]
