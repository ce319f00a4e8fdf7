"""The warm-up tasks: what they keep of a text, and that neither teaches to copy the beginning of an article."""

import jax
import numpy as np
import pytest

from ssl_jax.transforms.summaries import Rows, noisy_sentence, random_extract

IDS = {"begin_id": 2, "end_id": 3, "pad_id": 0}
BATCH, LENGTH, CODE = 64, 24, 6


def rows(texts, length, begin=()):
    tokens = np.zeros((len(texts), length), np.int32)
    for row, text in zip(tokens, texts, strict=True):
        row[: len(begin) + len(text) + 1] = [*begin, *text, 3]
    return Rows(tokens, tokens != 0)


ARTICLES = rows([range(10, 10 + 4 + n % 15) for n in range(BATCH)], LENGTH, begin=(2,))
SENTENCES = rows([range(50, 50 + 1 + n % 5) for n in range(BATCH)], CODE)


@pytest.fixture(scope="module")
def extracts():
    return jax.device_get(jax.jit(lambda key: random_extract(key, ARTICLES, CODE, **IDS))(jax.random.key(0)))


@pytest.fixture(scope="module")
def noisy():
    make = jax.jit(lambda key: noisy_sentence(key, SENTENCES, ARTICLES, LENGTH, **IDS))
    return jax.device_get(make(jax.random.key(0)))


def test_an_extract_has_words_of_its_article_in_their_order_and_an_end(extracts):
    for article, tokens, present in zip(ARTICLES.tokens, extracts.tokens, extracts.present, strict=True):
        words = tokens[present]
        assert words[-1] == 3
        assert not tokens[~present].any()
        assert len(words) == min(CODE, (article > 3).sum() + 1)
        assert list(words[:-1]) == sorted(set(words[:-1]) & set(article[article > 3]))


def test_an_extract_favours_no_place_of_the_article(extracts):
    long = (ARTICLES.tokens > 3).sum(-1) == 18
    first = [tokens[0] for tokens in extracts.tokens[long]]
    assert len(set(first)) > 1
    counts = np.bincount((extracts.tokens[extracts.tokens > 3] - 10).astype(int), minlength=18)
    assert counts[0] < 2 * counts[3]


def test_a_noisy_sentence_has_all_of_its_words_among_others_and_not_in_their_order(noisy):
    moved = 0
    for sentence, article, tokens, present in zip(
        SENTENCES.tokens, ARTICLES.tokens, noisy.tokens, noisy.present, strict=True
    ):
        row, wanted = tokens[present], sentence[sentence > 3]
        assert row[0] == 2
        assert row[-1] == 3
        assert not tokens[~present].any()
        assert sorted(row[row >= 50]) == list(wanted)
        others = row[(row > 3) & (row < 50)]
        assert set(others) <= set(article)
        assert len(others) == min(2 * CODE, (article > 3).sum())
        moved += list(row[row >= 50]) != list(wanted)
    assert moved > BATCH / 8
