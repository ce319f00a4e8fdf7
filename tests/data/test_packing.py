import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.packing import PackedDocuments
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.errors import UserError

VOCABULARY = 20_000
STARTS_WORD = np.random.default_rng(0).random(VOCABULARY) < 0.6


def packed_of(corpus, length: int, seed: int = 0) -> PackedDocuments:
    return PackedDocuments(corpus, length, SENTENCEPIECE, STARTS_WORD, seed)


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=8),
    st.integers(2, 70),
    st.integers(0, 5),
)
def test_rows_hold_every_token_once_and_keep_documents_apart(numbered_corpus, lengths, length, seed):
    corpus = numbered_corpus(lengths)
    packed = packed_of(corpus, length, seed)
    owner = np.repeat(np.arange(len(lengths)), corpus.document_lengths)
    seen = []
    for index in range(len(packed)):
        row = packed(index)
        assert {key: value.dtype for key, value in row.items()} == dict.fromkeys(row, np.dtype(np.int32))
        assert row["vocab_size"] == VOCABULARY
        assert {value.shape for name, value in row.items() if name != "vocab_size"} == {(length,)}
        tokens, segment_ids, positions, words = (
            row[key] for key in ("tokens", "segment_ids", "positions", "words")
        )
        used = int((segment_ids > 0).sum())
        assert used == length or index == len(packed) - 1
        assert (segment_ids[used:] == 0).all()
        assert (tokens[used:] == SENTENCEPIECE.pad).all()
        assert tokens[0] == SENTENCEPIECE.cls
        assert not row["token_type_ids"].any()
        assert set(np.diff(segment_ids[:used]).tolist()) <= {0, 1}
        regular = tokens >= SENTENCEPIECE.first_regular
        np.testing.assert_array_equal(words >= 0, regular)
        for number in range(1, segment_ids.max() + 1):
            inside = segment_ids == number
            np.testing.assert_array_equal(positions[inside], np.arange(inside.sum()))
            text = tokens[inside & regular] - 5
            seen.append(text)
            assert len(set(owner[text])) <= 1
            np.testing.assert_array_equal(np.diff(text), 1)
            ended = tokens[np.flatnonzero(inside)[-1]] == SENTENCEPIECE.sep
            assert ended or np.flatnonzero(inside)[-1] == length - 1
            if len(text):
                assert (
                    ended == (text[-1] + 1 == len(owner) or owner[text[-1] + 1] != owner[text[-1]])
                    or not ended
                )
                begins = STARTS_WORD[text + 5].copy()
                begins[0] = True
                np.testing.assert_array_equal(np.diff(words[inside & regular]), begins[1:])
        assert len(np.unique(words[regular])) == words.max() + 1
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(len(owner)))


def test_the_order_of_documents_follows_the_seed(numbered_corpus):
    corpus = numbered_corpus([[5]] * 50)
    rows = [packed_of(corpus, 301, seed)(0)["tokens"].tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]


def test_too_little_is_the_users_error(numbered_corpus):
    corpus = numbered_corpus([[5], [5]])
    with pytest.raises(UserError, match="length of 1 is too short"):
        packed_of(corpus, 1)
    with pytest.raises(UserError, match="holds no document"):
        packed_of(corpus.select(np.zeros(2, bool)), 16)
