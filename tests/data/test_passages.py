import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.passages import Passages, batch_shapes
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.errors import UserError

BOS, EOS = SENTENCEPIECE.cls, SENTENCEPIECE.sep
STARTS_WORD = np.random.default_rng(0).random(20_000) < 0.6


def passages_of(corpus, length):
    return Passages(corpus, length, SENTENCEPIECE, STARTS_WORD)


def greedy(document, capacity):
    """Rows as lists of sentences of numbered tokens, and how many sentences were cut: the definition, sentence by
    sentence."""
    rows, row, cut = [], [], 0
    for sentence in document:
        if row and sum(map(len, row)) + len(sentence) > capacity:
            rows.append(row)
            row = []
        cut += len(sentence) > capacity
        while len(sentence) > capacity:
            rows.append([sentence[:capacity]])
            sentence = sentence[capacity:]
        row = [*row, sentence]
    return [*rows, row], cut


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=8), min_size=1, max_size=8),
    st.integers(3, 50),
)
def test_rows_are_whole_sentences_of_one_document_and_hold_every_token_once(numbered_corpus, lengths, length):
    passages = passages_of(numbered_corpus(lengths), length)
    tokens = iter(range(5, 10**9))
    expected, cut = [], 0
    for document in lengths:
        rows, cuts = greedy([[next(tokens) for _ in range(n)] for n in document], length - 2)
        expected += rows
        cut += cuts
    assert passages.cut == cut
    assert len(passages) == len(expected)
    for index, sentences in enumerate(expected):
        row = passages(index)
        text = [token for sentence in sentences for token in sentence]
        rest = length - len(text) - 2
        assert row["tokens"].tolist() == [BOS, *text, EOS] + [SENTENCEPIECE.pad] * rest
        assert row["present"].tolist() == [1] * (len(text) + 2) + [0] * rest
        numbers = [number for number, sentence in enumerate(sentences) for _ in sentence]
        assert row["sentences"].tolist() == [-1, *numbers, -1] + [-1] * rest
        starts = [i == 0 or STARTS_WORD[token] for s in sentences for i, token in enumerate(s)]
        assert row["vocab_size"] == len(STARTS_WORD)
        assert row["words"].tolist() == [-1, *(np.cumsum(starts) - 1), -1] + [-1] * rest
        assert {key: (value.shape, value.dtype) for key, value in row.items()} == {
            key: (shape.shape[1:], shape.dtype) for key, shape in batch_shapes(1, length).items()
        }


def test_a_part_of_a_corpus_in_another_order(numbered_corpus):
    corpus = numbered_corpus([[3, 4], [5], [2, 2, 2], [6]]).select(np.array([2, 0]))
    passages = passages_of(corpus, 9)
    assert [passages(i)["tokens"][1:-1].tolist() for i in range(len(passages))] == [
        [17, 18, 19, 20, 21, 22, EOS],
        [5, 6, 7, 8, 9, 10, 11],
    ]


def test_too_little_is_the_users_error(numbered_corpus):
    corpus = numbered_corpus([[5], [5]])
    with pytest.raises(UserError, match="length of 2 is too short"):
        passages_of(corpus, 2)
    with pytest.raises(UserError, match="holds no document"):
        passages_of(corpus.select(np.zeros(2, bool)), 16)
