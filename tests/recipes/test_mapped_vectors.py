"""Vectors of CBOW: words of the same contexts are close; a rotation between two languages is found from some words."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.recipes.alignment import Translations
from ssl_jax.recipes.mapped_vectors import mapped_scores, orthogonal_map, piece_vectors

FIRST = SENTENCEPIECE.first_regular


def translations(count: int) -> Translations:
    tokens = [np.array([FIRST + i]) for i in range(count)]
    groups = np.arange(count)
    return Translations(("en", "de"), "words", "a file", tokens, tokens, groups, groups)


def test_a_rotation_is_found():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((FIRST + 30, 6))
    rotation = np.linalg.qr(rng.standard_normal((6, 6)))[0]
    found = orthogonal_map(first, first @ rotation.T, translations(30))
    np.testing.assert_allclose(found, rotation, atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(6), atol=1e-6)


@pytest.fixture
def opened():
    """Languages with the same text: 200 documents of 12 words, each of one of five topics with 8 words."""
    topic = np.arange(200)[:, None] % 5
    tokens = np.random.default_rng(0).integers(0, 8, (200, 12)) + 8 * topic + FIRST
    documents = np.arange(200)
    corpus = TokenizedCorpus(
        "made up",
        "0",
        tokens.ravel(),
        12 * np.arange(201),
        documents,
        documents + 1,
        documents.astype(np.uint64),
    )
    language = SimpleNamespace(training=corpus)
    tokenizer = SimpleNamespace(vocab_size=FIRST + 40, special=SENTENCEPIECE)

    class Opened:
        def __getitem__(self, name):
            return language

    Opened.tokenizer = tokenizer
    return Opened()


def test_words_of_one_topic_are_close(opened):
    vectors = piece_vectors(opened["en"], opened, 60)[FIRST:]
    topic = np.arange(40) // 8
    same, cosines = topic[:, None] == topic, vectors @ vectors.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.5


def test_scores_are_of_the_second_half_and_need_words(opened):
    words = translations(40)
    sentences = words._replace(kind="sentences")
    scores = mapped_scores(opened, [sentences, words], 5)
    assert {name.split(",")[0]: of["p1"] for name, of in scores.items()} == {"sentences": 1, "words": 1}
    assert mapped_scores(opened, [sentences], 5) == {}
    other = words._replace(languages=("en", "fr"))
    assert [*mapped_scores(opened, [sentences, other], 5)] == ["words, en and fr, a file"]
