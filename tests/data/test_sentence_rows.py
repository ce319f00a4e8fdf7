"""A row is one sentence; a long one is cut; every token is in one row."""

import numpy as np
import pytest

from ssl_jax.data.pretraining_text import bert_batch_shapes, bert_rows
from ssl_jax.data.sentence_rows import SentenceRows
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.errors import UserError

CLS, SEP, PAD = SENTENCEPIECE.cls, SENTENCEPIECE.sep, SENTENCEPIECE.pad
STARTS_WORD = np.arange(1000) % 2 == 1


def test_rows(numbered_corpus):
    corpus = numbered_corpus([[2, 5], [1], [3]])  # tokens 5, 6, 7 and so on
    rows = SentenceRows(corpus.select(np.array([2, 0])), 6, SENTENCEPIECE, STARTS_WORD)
    assert [rows(i)["tokens"].tolist() for i in range(len(rows))] == [
        [CLS, 13, 14, 15, SEP, PAD],
        [CLS, 5, 6, SEP, PAD, PAD],
        [CLS, 7, 8, 9, 10, SEP],
        [CLS, 11, SEP, PAD, PAD, PAD],  # the rest of a sentence of five tokens
    ]
    row = rows(1)
    assert row["segment_ids"].tolist() == [1, 1, 1, 1, 0, 0]
    assert row["positions"].tolist() == [0, 1, 2, 3, 4, 5]
    assert row["words"].tolist() == [-1, 0, 0, -1, -1, -1]  # 6 does not begin a word
    assert rows(3)["words"].tolist() == [-1, 0, -1, -1, -1, -1]
    assert not row["token_type_ids"].any()
    assert row["vocab_size"] == 1000


def test_arrays_are_those_of_packed_rows(numbered_corpus):
    class Tokenizer:
        special, starts_word = SENTENCEPIECE, STARTS_WORD

    corpus = numbered_corpus([[4, 2]])
    shapes = bert_batch_shapes("none", 1, 8)
    for sentences in (True, False):
        row = bert_rows("none", sentences=sentences)(corpus, 8, Tokenizer)(0, np.random.default_rng(0))
        assert {name: (1, *array.shape) for name, array in row.items()} == {
            name: of.shape for name, of in shapes.items()
        }
        assert {array.dtype for array in row.values()} == {np.dtype(np.int32)}


def test_too_short(numbered_corpus):
    with pytest.raises(UserError, match="a length of 2 is too short"):
        SentenceRows(numbered_corpus([[1]]), 2, SENTENCEPIECE, STARTS_WORD)
