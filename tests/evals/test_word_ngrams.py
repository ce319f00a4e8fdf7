"""Frequencies of whole words and the n-gram baseline that predicts them, counted by hand in a small text."""

import pytest

from ssl_jax.data.tokenizers import WordPiece
from ssl_jax.data.word_vocabulary import in_googles_layout
from ssl_jax.evals.whole_word_masking import WholeWords, joined
from ssl_jax.evals.word_ngrams import WordNgrams

PIECES = ["the", "cat", "##s", "sat", "##tle", "on", "a", "mat", "dog", "."]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(in_googles_layout(PIECES))


@pytest.fixture(scope="module")
def ngrams(tokenizer, make_corpus):
    documents = [
        ["the cat sat on a mat .", "the cats sat ."],
        ["the cats sat on the mat .", "a dog sat on the cats ."],
    ]
    return WordNgrams(make_corpus([[*map(tokenizer.encode, of)] for of in documents]), tokenizer)


def words_of(sentence, tokenizer):
    return WholeWords(*joined([sentence.split()]), tokenizer, length=32)


def test_a_word_is_counted_with_all_its_pieces(ngrams, tokenizer):
    words = words_of("the cat cats sat mat dog sattle", tokenizer)
    assert words.ranks(ngrams.counts).tolist() == [5, 1, 3, 4, 2, 1, 0]


def test_words_are_predicted_from_both_neighbours(ngrams, tokenizer):
    # Between the beginning and "cat", the; after "the", cat, then "##s" before "sat"; "on" between "sat" and "the".
    words = words_of("the cats sat on the mat .", tokenizer)
    assert (words.ranks(ngrams.ranks) == 0).tolist() == [True] * 7
    # Nothing was seen between these neighbours: "the" is the most frequent one after the beginning, "cat" after "the".
    words = words_of("the mat on dog .", tokenizer)
    assert (words.ranks(ngrams.ranks) == 0).tolist() == [True] + [False] * 4
    assert (words_of("sat on the dog", tokenizer).ranks(ngrams.ranks) == 0).tolist() == [
        False,
        True,
        True,
        False,
    ]
