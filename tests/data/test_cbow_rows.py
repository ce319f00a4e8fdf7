"""Rows for CBOW: word2vec's vocabulary, subsampling, windows and noise words."""

import collections

import numpy as np
import pytest
from scipy import stats

from ssl_jax.data.cbow_rows import CbowRows, Sampling, kept_shares, noise_distribution, word_counts
from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.word_vocabulary import train_words
from ssl_jax.errors import UserError

WORDS = 8


def make_corpus(documents):
    """Documents of sentences of ids, in memory."""
    sentences = [sentence for document in documents for sentence in document]
    ends = np.cumsum([len(document) for document in documents])
    return TokenizedCorpus(
        name="test",
        fingerprint="",
        tokens=np.concatenate(sentences).astype(np.uint16),
        sentence_offsets=np.concatenate([[0], np.cumsum([len(sentence) for sentence in sentences])]),
        first_sentence=np.concatenate([[0], ends[:-1]]),
        end_sentence=ends,
        hashes=np.arange(len(documents), dtype=np.uint64),
        text_bytes=np.array([sum(map(len, document)) for document in documents]),
        source_index=np.arange(len(documents)),
    )


def random_corpus(documents=30):
    """Zipf's law over the ids 2 to 7; 1 is unknown."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, WORDS)
    draw = lambda: rng.choice(np.arange(1, WORDS), rng.integers(1, 30), p=shares / shares.sum())  # noqa: E731
    return make_corpus([[draw() for _ in range(rng.integers(1, 5))] for _ in range(documents)])


def make_rows(corpus, *, length=64, window=3, negatives=2, subsample=0.0):
    counts = word_counts(corpus, WORDS, 2)
    sampling = Sampling(window, negatives, subsample)
    return counts, CbowRows(corpus, counts, length=length, sampling=sampling, first_word=2)


def all_rows(rows, epochs=1):
    return [
        rows(row, np.random.default_rng((epoch, row))) for epoch in range(epochs) for row in range(len(rows))
    ]


def test_the_most_frequent_words_have_the_first_ids():
    words = train_words(["The cat. the dog", "a cat the"], 104 + 3)
    assert words.pieces(range(104, 107)) == ["the", "cat", "."]
    assert words.encode("the Cat mat") == [104, 105, words.special.unk]
    with pytest.raises(UserError, match="no word occurs 9 times"):
        train_words(["a b"], 200, min_count=9)


def test_without_subsampling_every_word_is_there_once_with_its_neighbours():
    corpus = random_corpus()
    counts, rows = make_rows(corpus)
    seen = collections.Counter()
    for row in all_rows(rows):
        seen.update(row["tokens"][row["segment_ids"] > 0].tolist())
    assert sum(seen.values()) > 0.97 * counts.sum()  # a row that is too long loses its last words
    assert set(seen) == set(range(2, WORDS))
    short = make_corpus([[[2, 1, 3], [4, 5]], [[6]]])
    [row] = all_rows(make_rows(short, length=8)[1])
    found = list(zip(row["tokens"].tolist(), row["segment_ids"].tolist(), strict=True))
    assert sorted(found[:5]) in (
        sorted([(2, 1), (3, 1), (4, 2), (5, 2), (6, 3)]),
        sorted([(6, 1), (2, 2), (3, 2), (4, 3), (5, 3)]),
    )
    assert found[5:] == [(0, 0)] * 3


def test_frequent_words_are_kept_as_often_as_word2vec_keeps_them():
    corpus = random_corpus(60)
    counts, rows = make_rows(corpus, subsample=0.05)
    share = counts / counts.sum()
    expected = kept_shares(counts, 0.05)
    np.testing.assert_allclose(
        expected[2:], np.minimum(np.sqrt(0.05 / share[2:]) + 0.05 / share[2:], 1), rtol=1e-12
    )
    epochs = 40
    seen = np.zeros(WORDS)
    for row in all_rows(rows, epochs):
        seen += np.bincount(row["tokens"][row["segment_ids"] > 0], minlength=WORDS)
    trials = epochs * counts[2]
    assert abs(seen[2] - trials * expected[2]) < 0.03 * trials + 4 * np.sqrt(trials)


def test_rows_of_other_text_are_as_full():
    counts, _ = make_rows(random_corpus(200))
    rows = CbowRows(random_corpus(20), counts, length=16, sampling=Sampling(3, 0, 0.1), first_word=2)
    filled = [(row["segment_ids"] > 0).mean() for row in all_rows(rows, 10)]
    assert 0.8 < np.mean(filled) <= 1


def test_windows_are_uniform_and_noise_words_follow_the_power_of_their_counts():
    counts, rows = make_rows(random_corpus())
    made = all_rows(rows, 20)
    windows = np.concatenate([row["window"] for row in made])
    assert stats.chisquare(np.bincount(windows, minlength=4)[1:]).pvalue > 1e-3
    noise = np.bincount(np.concatenate([row["negatives"].ravel() for row in made]), minlength=WORDS)
    expected = noise_distribution(counts)
    np.testing.assert_allclose(expected, counts**0.75 / (counts**0.75).sum())
    assert noise[:2].sum() == 0
    assert stats.chisquare(noise[2:], expected[2:] * noise.sum()).pvalue > 1e-3


def test_a_row_depends_on_its_number_and_the_random_numbers_alone():
    _, rows = make_rows(random_corpus(), subsample=0.1)
    first, again, other = (rows(1, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["negatives"], other["negatives"])
