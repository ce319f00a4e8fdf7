"""Whole words: which pieces they have, what the model receives, and when a word is predicted."""

import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.tokenizers import WORDPIECE, WordPiece
from ssl_jax.errors import UserError
from ssl_jax.evals.whole_word_masking import WholeWords, joined, word_ranks

PIECES = ["the", "cat", "sat", "un", "##happi", "##ly", ".", "mat"]
VOCABULARY = [f"[unused{i}]" for i in range(WORDPIECE.first_regular)] + PIECES
for piece, place in zip(("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"), WORDPIECE[:-1], strict=True):
    VOCABULARY[place] = piece
SENTENCES = [["The", "cat", "sat", "unhappily", "."], ["the", "zebra"], ["mat"]]


@pytest.fixture
def tokenizer():
    return WordPiece(VOCABULARY)


def number(*pieces):
    return [VOCABULARY.index(piece) for piece in pieces]


def collected(rows_of_calls):
    """Keeps the rows it is given and says that every word has the rank of its number of pieces."""

    def compute(dataset):
        rows = list(dataset)
        rows_of_calls.append(rows)
        return np.array([(row["labels"] >= 0).sum() for row in rows])

    return compute


def test_all_pieces_of_one_word_are_masked(tokenizer):
    words = WholeWords(*joined(SENTENCES), tokenizer, length=32)
    assert words.pieces.tolist() == [1, 1, 1, 3, 1, 1, 1, 1]
    assert words.scored.tolist() == [True] * 6 + [False, True]  # no piece for the zebra
    calls = []
    assert words.ranks(collected(calls)).tolist() == [1, 1, 1, 3, 1, 1, -1, 1]
    [single, several] = calls
    assert (len(single), len(several)) == (6, 1)
    row = several[0]
    shown = number("[CLS]", "the", "cat", "sat", "[MASK]", "[MASK]", "[MASK]", ".", "[SEP]")
    assert row["tokens"].tolist() == shown + [0] * 23
    assert row["segment_ids"].tolist() == [1] * 9 + [0] * 23
    assert row["predict_positions"].tolist() == [4, 5, 6]
    assert row["labels"].tolist() == number("un", "##happi", "##ly")
    calls.clear()
    words.ranks(collected(calls), masked=False)
    assert calls[1][0]["tokens"].tolist()[:9] == number(
        "[CLS]", "the", "cat", "sat", "un", "##happi", "##ly", ".", "[SEP]"
    )


def test_a_long_text_is_cut_around_the_word(tokenizer):
    texts = ["the " * 30 + "unhappily" + " cat" * 30]
    words = WholeWords(texts, np.array([[0, 0, 3], [0, 120, 129]]), tokenizer, length=9)
    calls = []
    words.ranks(collected(calls))
    [first], [middle] = calls
    assert first["tokens"].tolist() == number("[CLS]", "[MASK]", *["the"] * 6, "[SEP]")
    assert middle["tokens"].tolist() == number("[CLS]", "the", "the", *["[MASK]"] * 3, "cat", "cat", "[SEP]")
    assert not WholeWords(texts, np.array([[0, 120, 129]]), tokenizer, length=4).scored.any()
    with pytest.raises(UserError, match="length of 2 tokens has no room"):
        WholeWords(texts, np.array([[0, 0, 3]]), tokenizer, length=2)


def test_a_word_that_shares_a_piece_with_another_is_not_scored(tokenizer):
    places = np.array([[0, 0, 2], [0, 4, 7]])  # "th" of "the", and "cat"
    assert WholeWords(["the cat"], places, tokenizer, length=8).scored.tolist() == [False, True]


def test_the_rank_of_a_word_is_that_of_its_worst_piece_and_ties_count_against_it():
    logits = jnp.array(
        [[[3.0, 1, 2, 9], [0, 5, 1, 9]], [[3, 1, 2, 9], [0, 5, 1, 9]], [[1, 1, 0, 9], [0, 0, 0, 9]]]
    )
    ranks = word_ranks(lambda params, batch, positions: logits, vocab_size=3)
    batch = {"predict_positions": None, "labels": jnp.array([[0, 1], [0, 2], [0, -1]])}
    assert ranks({}, {}, batch).tolist() == [0, 1, 1]
