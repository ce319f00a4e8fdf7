"""Rows for next-token prediction: every target once, with the context that is promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.next_token import NextTokenRows, NextTokenWindows, batch_shapes, count_token_bytes
from ssl_jax.data.tokenizers import SENTENCEPIECE, WordPiece, train_sentencepiece
from ssl_jax.errors import UserError

BOS, EOS, PAD = SENTENCEPIECE.cls, SENTENCEPIECE.sep, SENTENCEPIECE.pad
BYTES = np.random.default_rng(0).integers(1, 9, 5000)
BYTES[EOS] = 0
CORPORA = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=4), min_size=1, max_size=8)


def check_row(row: dict[str, np.ndarray], corpus, length: int) -> list[int]:
    """What holds of every row. Returns the targets that count."""
    shapes = batch_shapes(1, length)
    for name, shape in shapes.items():
        assert (row[name].shape, row[name].dtype) == (shape.shape[1:], shape.dtype)
    real = row["segment_ids"] > 0
    assert (row["weights"][~real] == 0).all()
    assert (row["tokens"][~real] == PAD).all()
    assert (row["targets"][~real] == PAD).all()
    assert BOS not in row["targets"]
    assert PAD not in row["targets"][real]
    assert EOS not in row["tokens"]
    owner = np.repeat(np.arange(len(corpus.hashes)), corpus.document_lengths)
    first = np.concatenate([[0], np.cumsum(corpus.document_lengths)])
    for number in range(1, row["segment_ids"].max() + 1):
        [places] = np.nonzero(row["segment_ids"] == number)
        np.testing.assert_array_equal(row["positions"][places], np.arange(len(places)))
        np.testing.assert_array_equal(np.diff(places), 1)
        # The tokens that are read are those to predict, one place later: nothing else is context.
        tokens, targets = row["tokens"][places], row["targets"][places]
        np.testing.assert_array_equal(tokens[1:], targets[:-1])
        assert tokens[0] == BOS or targets[0] in (tokens[0] + 1, EOS)
        read = tokens[0] - 5 if tokens[0] != BOS else targets[0] - 5
        document = owner[read]
        assert (tokens[0] == BOS) <= (read == first[document])
        if targets[-1] == EOS and len(targets) > 1:
            assert tokens[-1] - 5 == first[document + 1] - 1
        text = tokens[tokens != BOS] - 5
        assert set(owner[text]) <= {document}
        np.testing.assert_array_equal(np.diff(text), 1)
    return row["targets"][row["weights"] > 0].tolist()


def check_all(targets: list[int], corpus) -> None:
    """Every token and every document's end exactly once."""
    tokens = int(corpus.document_lengths.sum())
    assert sorted(targets) == [EOS] * len(corpus.hashes) + list(range(5, 5 + tokens))


@given(CORPORA, st.integers(1, 70), st.integers(0, 5))
def test_every_token_is_a_target_once_in_an_epoch(numbered_corpus, lengths, length, seed):
    corpus = numbered_corpus(lengths)
    rows = NextTokenRows(corpus, length, SENTENCEPIECE, seed)
    made = [rows(index) for index in range(len(rows))]
    check_all([t for row in made for t in check_row(row, corpus, length)], corpus)
    assert all((row["segment_ids"] > 0).all() for row in made[:-1])  # only the last row has padding
    np.testing.assert_array_equal([row["weights"] for row in made], [row["segment_ids"] > 0 for row in made])
    for name, values in rows(0).items():
        np.testing.assert_array_equal(values, made[0][name])


@given(CORPORA, st.integers(1, 40), st.integers(1, 40))
def test_windows_count_every_token_once_with_the_context_of_their_stride(
    numbered_corpus, lengths, length, stride
):
    """Against the definition, place by place: which window predicts a place, and how much it sees."""
    stride = min(stride, length)
    corpus = numbered_corpus(lengths)
    windows = NextTokenWindows(corpus, length, SENTENCEPIECE, BYTES, stride=stride, max_rows=10**6)
    targets, seen, size = [], {}, 0
    for index in range(len(windows)):
        row = windows(index)
        targets += check_row(row, corpus, length)
        inside = row["targets"] != EOS
        np.testing.assert_array_equal(row["bytes"][inside], BYTES[row["targets"]][inside])
        size += int(row["bytes"] @ row["weights"])
        for place in np.flatnonzero(row["weights"]):
            seen[int(row["tokens"][place]), int(row["targets"][place])] = int(row["positions"][place])
    check_all(targets, corpus)
    assert size == corpus.text_bytes.sum()
    wanted, done = {}, 0
    for tokens in corpus.document_lengths:
        text = [BOS, *range(5 + done, 5 + done + tokens), EOS]
        for place in range(tokens + 1):
            window = max(0, -(-(place + 1 - length) // stride))  # the first that reaches the place
            wanted[text[place], text[place + 1]] = place - window * stride
        done += tokens
    assert seen == wanted


def test_held_out_documents_are_read_whole_up_to_a_number_of_rows(numbered_corpus):
    corpus = numbered_corpus([[n] for n in range(3, 40)])
    whole = NextTokenWindows(corpus, 16, SENTENCEPIECE, BYTES, stride=8, max_rows=10**6)
    some = NextTokenWindows(corpus, 16, SENTENCEPIECE, BYTES, stride=8, max_rows=20)
    assert len(some) <= 20 < len(whole)
    assert 0 < len(some.corpus.hashes) < len(whole.corpus.hashes) == 37
    counted = sum(row["weights"].sum() for row in map(some, range(len(some))))
    assert counted == (some.corpus.document_lengths + 1).sum()
    following = whole.corpus.select(np.arange(len(some.corpus.hashes) + 1))
    more = NextTokenWindows(following, 16, SENTENCEPIECE, BYTES, stride=8, max_rows=10**6)
    assert len(more) >= 20  # no further document would have fitted
    one = NextTokenWindows(numbered_corpus([[100]]), 16, SENTENCEPIECE, BYTES, stride=8, max_rows=2)
    assert len(one.corpus.hashes) == 1  # a single document may be longer
    assert len(one) > 2


def test_mistakes(numbered_corpus):
    corpus = numbered_corpus([[5], [5]])
    with pytest.raises(UserError, match="length of 0 is too short"):
        NextTokenRows(corpus, 0, SENTENCEPIECE)
    for stride in (0, 9):
        with pytest.raises(
            UserError, match=f"stride of {stride} must be at least 1 and at most .* window, 8"
        ):
            NextTokenWindows(corpus, 8, SENTENCEPIECE, BYTES, stride=stride, max_rows=5)
    with pytest.raises(UserError, match="holds no document"):
        NextTokenRows(corpus.select(np.zeros(2, bool)), 16, SENTENCEPIECE)


TEXT = 'Grüße, "Welt": 3 ≥ 2 and 𝛼 ≠ β.  Tabs\tand   spaces; the end.'


def test_bytes_of_a_sentencepiece_text_are_those_of_the_normalised_text():
    sentences = [f"The number {i} is not the number {i + 1}." for i in range(200)]
    tokenizer = train_sentencepiece(sentences, 400, byte_fallback=True)
    ids = tokenizer.encode(TEXT)
    assert tokenizer.special.unk not in ids
    normal = ' Grüße, "Welt": 3 ≥ 2 and α ≠ β. Tabs and spaces; the end.'
    assert b"".join(tokenizer.piece_bytes(ids)).decode() == normal
    assert count_token_bytes(tokenizer)[ids].sum() == len(normal.encode())
    assert (count_token_bytes(tokenizer)[list(SENTENCEPIECE[:5])] == 0).all()
    assert tokenizer.decode(ids) == normal[1:]
    plain = train_sentencepiece(sentences, 60)  # without bytes, what it does not know is lost
    lost = plain.encode("The ≥")
    assert plain.special.unk in lost
    assert count_token_bytes(plain)[lost].sum() == len(" The ")


def test_bytes_of_word_pieces():
    words = [
        "[PAD]",
        *[f"[unused{i}]" for i in range(99)],
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "walk",
        "##ed",
        "é",
    ]
    tokenizer = WordPiece(words)
    assert tokenizer.piece_bytes([101, 104, 105, 106, 100]) == [b"", b" walk", b"ed", " é".encode(), b""]
