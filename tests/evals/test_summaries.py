"""Baselines of summaries, and metrics of a set of them."""

import math
from collections import Counter

import numpy as np
import pytest

from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.evals.ngram_baselines import KneserNey
from ssl_jax.evals.summaries import (
    best_window,
    bits_per_word,
    distinct_share,
    document_counts,
    first_words,
    tf_idf_extract,
)
from tests.corpora import corpus_of

ARTICLE = "The sum of the array. An axis of the sum may be given as an axis number."


def test_extracts():
    assert first_words(ARTICLE, 3) == "The sum of"
    assert best_window(ARTICLE, "an axis number", 3) == "an axis number."
    assert best_window("two words", "words", 5) == "two words"
    counts = document_counts([ARTICLE, "The array of an axis, the sum.", "The array may be given."])
    assert counts["the"] == 3
    assert tf_idf_extract(ARTICLE, counts, 3, 2) == "as number."


def test_rare_words_win_and_each_is_taken_once():
    counts = Counter({"rare": 1, "common": 9})
    assert tf_idf_extract("common rare common rare", counts, 9, 2) == "common rare"


def test_summaries_that_are_alike_are_not_distinct():
    assert distinct_share([[5, 6]] * 10) == 0.1
    assert distinct_share([[5, 6], [6, 5]]) == 1


def test_bits_per_word_are_those_of_the_n_grams():
    """Real sentences are "5 6" and "5 7": the n-grams expect them more than "7 5 6 6"."""
    rows = [np.array([5, 6]), np.array([5, 7])] * 20
    corpus = corpus_of(*rows)
    ngrams = KneserNey(corpus, 3, 8, SENTENCEPIECE)
    real, strange = bits_per_word(ngrams, [[5, 6], []], 2), bits_per_word(ngrams, [[7, 5, 6, 6]], 4)
    assert real < 1 < 2 < strange
    one = corpus.select(np.arange(1))
    assert real == pytest.approx(ngrams.nats(one).sum() / math.log(2) / 2)
    assert math.isnan(bits_per_word(ngrams, [[]], 0))
