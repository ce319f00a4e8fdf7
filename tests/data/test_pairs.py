import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssl_jax.data.pairs import SegmentPairs
from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.errors import UserError

VOCABULARY = 20_000
STARTS_WORD = np.random.default_rng(0).random(VOCABULARY) < 0.6

documents_strategy = st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=9), min_size=2, max_size=6)


def pairs_of(corpus, length=32, objective="nsp", **options) -> SegmentPairs:
    return SegmentPairs(corpus, length, SENTENCEPIECE, STARTS_WORD, objective, **options)


def example(pairs: SegmentPairs, row: int, seed: int) -> dict[str, np.ndarray]:
    return pairs(row, np.random.default_rng((seed, row)))


def segments_of(example: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The two segments as places in the corpus, after checks that hold for any row."""
    tokens, token_type_ids, segment_ids, words = (
        example[k] for k in ("tokens", "token_type_ids", "segment_ids", "words")
    )
    assert all(array.dtype == np.int32 for array in example.values())
    assert example["label"].shape == ()
    assert example["vocab_size"] == len(STARTS_WORD)
    used = int(segment_ids.sum())
    separators = np.flatnonzero(tokens == SENTENCEPIECE.sep)
    assert tokens[0] == SENTENCEPIECE.cls
    assert len(separators) == 2
    assert separators[1] == used - 1
    np.testing.assert_array_equal(segment_ids, np.arange(len(tokens)) < used)
    np.testing.assert_array_equal(tokens[used:], SENTENCEPIECE.pad)
    np.testing.assert_array_equal(
        token_type_ids, (np.arange(len(tokens)) > separators[0]) & (segment_ids == 1)
    )
    regular = tokens >= SENTENCEPIECE.first_regular
    assert regular.sum() == used - 3
    np.testing.assert_array_equal(words >= 0, regular)
    first, second = tokens[1 : separators[0]], tokens[separators[0] + 1 : used - 1]
    begins = np.concatenate([STARTS_WORD[first], STARTS_WORD[second]])
    begins[[0, len(first)]] = True
    np.testing.assert_array_equal(words[regular], np.cumsum(begins) - 1)
    for segment in (first, second):
        assert len(segment) >= 1
        np.testing.assert_array_equal(np.diff(segment), 1)  # a run of the corpus
    return first - 5, second - 5


def sentence_at(corpus, place: int) -> int:
    return int(np.searchsorted(corpus.sentence_offsets, place, side="right")) - 1


def document_at(corpus, place: int) -> int:
    return int(np.searchsorted(corpus.end_sentence, sentence_at(corpus, place), side="right"))


@given(documents_strategy, st.integers(16, 80), st.integers(0, 9))
def test_next_sentences_follow_and_others_come_from_another_document(numbered_corpus, lengths, length, seed):
    corpus = numbered_corpus(lengths)
    pairs = pairs_of(corpus, length)
    for row in range(len(pairs)):
        made = example(pairs, row, seed)
        a, b = segments_of(made)
        assert document_at(corpus, a[0]) == document_at(corpus, a[-1])
        assert document_at(corpus, b[0]) == document_at(corpus, b[-1])
        if made["label"] == 0:
            assert document_at(corpus, a[0]) == document_at(corpus, b[0])
            assert sentence_at(corpus, b[0]) == sentence_at(corpus, a[-1]) + 1
        else:
            assert document_at(corpus, a[0]) != document_at(corpus, b[0])
        assert sentence_at(corpus, b[0]) not in corpus.first_sentence  # which never follows anything


@given(documents_strategy, st.integers(16, 80), st.integers(0, 9))
def test_swapped_segments_are_consecutive_runs_of_whole_sentences(numbered_corpus, lengths, length, seed):
    corpus = numbered_corpus(lengths)
    pairs = pairs_of(corpus, length, "sop")
    for row in range(len(pairs)):
        made = example(pairs, row, seed)
        a, b = segments_of(made)
        if made["label"] == 1:
            a, b = b, a
        assert document_at(corpus, a[0]) == document_at(corpus, b[-1])
        assert sentence_at(corpus, b[0]) == sentence_at(corpus, a[-1]) + 1
        for run in (a, b):
            whole = run[0] in corpus.sentence_offsets and run[-1] + 1 in corpus.sentence_offsets
            assert whole or sentence_at(corpus, run[0]) == sentence_at(corpus, run[-1])


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_rows_are_full_where_the_document_allows(numbered_corpus, objective):
    corpus = numbered_corpus([[5] * 200] * 3)
    pairs = pairs_of(corpus, 128, objective, short_sequence_probability=0.0)
    for row in range(len(pairs)):
        assert example(pairs, row, 0)["segment_ids"].sum() > 128 - 2 * 5
    short = numbered_corpus([[5] * 4] * 9)
    pairs = pairs_of(short, 128, objective, short_sequence_probability=0.0)
    assert objective == "nsp" or all(
        example(pairs, row, 0)["segment_ids"].sum() == 23 for row in range(len(pairs))
    )


def test_one_in_ten_rows_is_shorter(numbered_corpus):
    corpus = numbered_corpus([[1] * 3000] * 2)
    pairs = pairs_of(corpus, 128, "sop")
    filled = np.array([example(pairs, row % len(pairs), row)["segment_ids"].sum() for row in range(4000)])
    assert abs(np.mean(filled < 128) - 0.1 * 117 / 118) < 4 * np.sqrt(0.09 / 4000)
    assert filled.min() < 20


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_an_example_is_a_function_of_seed_and_row(numbered_corpus, objective):
    lengths = np.random.default_rng(0).integers(1, 4, (10, 300)).tolist()
    pairs, again = (pairs_of(numbered_corpus(lengths), 64, objective) for _ in range(2))
    made = [example(pairs, row, 0)["tokens"].tolist() for row in range(len(pairs))]
    assert [example(again, row, 0)["tokens"].tolist() for row in reversed(range(len(again)))] == made[::-1]
    other = [example(pairs, row, 1)["tokens"].tolist() for row in range(len(pairs))]
    assert sum(a == b for a, b in zip(made, other, strict=True)) < 0.05 * len(made)
    assert len({tuple(tokens) for tokens in made}) == len(made)


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_rows_made_together_are_those_made_alone(numbered_corpus, objective):
    rng = np.random.default_rng(1)
    # A document with nearly all of the text, sentences longer than a row, and a short document.
    documents = [rng.integers(1, 30, 300), [40, 50, 3], [2, 2]]
    pairs = pairs_of(numbered_corpus(documents), objective=objective)
    rows = rng.integers(len(pairs), size=200)
    together = pairs.stack(rows, [np.random.default_rng((3, row)) for row in range(200)])
    for place, row in enumerate(rows):
        alone = pairs(int(row), np.random.default_rng((3, place)))
        for name, array in alone.items():
            np.testing.assert_array_equal(together[name][place], array)


ROWS_OF_EARLIER_RUNS = {"nsp": "8836ad450604d3de", "sop": "926db9b51622e7ab"}


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_rows_are_those_of_earlier_runs(numbered_corpus, objective):
    """A run that is continued with a newer version of the project goes on with the same rows."""
    documents = np.random.default_rng(0).integers(1, 40, (30, 9))
    pairs = pairs_of(numbered_corpus(documents), objective=objective)
    made = pairs.stack(np.arange(100), [np.random.default_rng((5, row)) for row in range(100)])
    digest = hashlib.sha256(made["tokens"].tobytes() + made["label"].tobytes()).hexdigest()
    assert digest[:16] == ROWS_OF_EARLIER_RUNS[objective]


@pytest.mark.parametrize("objective", ["nsp", "sop"])
def test_labels_are_even(numbered_corpus, objective):
    lengths = np.random.default_rng(0).integers(3, 30, (50, 12)).tolist()
    pairs = pairs_of(numbered_corpus(lengths), 64, objective)
    labels = [int(example(pairs, i % len(pairs), i)["label"]) for i in range(4000)]
    assert abs(np.mean(labels) - 0.5) < 4 * np.sqrt(0.25 / 4000)


def test_every_boundary_is_the_junction_equally_often_whatever_the_lengths(numbered_corpus):
    corpus = numbered_corpus([np.random.default_rng(0).integers(1, 60, 41).tolist(), [10, 10]])
    pairs = pairs_of(corpus, 64, "sop", short_sequence_probability=0.0)
    counts = np.zeros(41, int)
    rows = len(pairs) - 1  # those of the first document
    for i in range(400 * rows):
        made = example(pairs, i % rows, i)
        a, b = segments_of(made)
        counts[sentence_at(corpus, (a if made["label"] else b)[0])] += 1
    assert counts[0] == 0
    expected = counts.sum() / 40
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 75  # chi-square, 39 degrees: p = 0.0005


def test_epochs_read_the_whole_corpus_over_and_over(numbered_corpus):
    lengths = [np.random.default_rng(seed).integers(5, 50, 30).tolist() for seed in range(12)]
    corpus = numbered_corpus(lengths)
    for objective in ("nsp", "sop"):
        pairs = pairs_of(corpus, 128, objective, short_sequence_probability=0.0)
        seen = np.zeros((20, len(corpus.tokens)), int)
        for epoch in range(20):
            for row in range(len(pairs)):
                for run in segments_of(example(pairs, row, epoch)):
                    seen[epoch, run] += 1
        assert 0.8 < seen.sum(1).mean() / len(corpus.tokens) < 1.1
        assert (seen.sum(0) > 0).mean() > 0.999
        assert (seen > 0).mean() > 0.55  # of the text within one epoch


def test_one_document_that_holds_nearly_all_text_never_is_its_own_other_document(numbered_corpus):
    corpus = numbered_corpus([[7] * 2500, [9, 3]])
    pairs = pairs_of(corpus, 64)
    randoms = 0
    for row in range(200):
        made = example(pairs, row, 0)
        a, b = segments_of(made)
        randoms += int(made["label"])
        assert (document_at(corpus, a[0]) != document_at(corpus, b[0])) == bool(made["label"])
    assert 60 < randoms < 140


def test_sentences_longer_than_a_row_show_every_part(numbered_corpus):
    corpus = numbered_corpus([[300, 300], [300, 300]])
    for objective in ("nsp", "sop"):
        pairs = pairs_of(corpus, 64, objective)
        seen = np.zeros(1200, int)
        for i in range(400):
            for run in segments_of(example(pairs, i % len(pairs), i)):
                seen[run] += 1
        assert (seen > 0).mean() > 0.98


def test_too_little_text_is_the_users_error(numbered_corpus):
    with pytest.raises(
        UserError, match=r"1 document\(s\) with two sentences or more in this split; nsp needs 2"
    ):
        pairs_of(numbered_corpus([[5, 5, 5], [9]]))
    pairs_of(numbered_corpus([[5, 5, 5], [9]]), objective="sop")
    with pytest.raises(UserError, match=r"0 document\(s\).*sop needs 1.*a blank line ends a document"):
        pairs_of(numbered_corpus([[9], [9]]), objective="sop")
    with pytest.raises(UserError, match="length of 8 is too short"):
        pairs_of(numbered_corpus([[5, 5], [9, 9]]), length=8)
