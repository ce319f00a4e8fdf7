"""Vectors of CBOW: words of the same contexts are close; a rotation between two languages is found from some words."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.recipes.alignment import Translations
from ssl_jax.recipes.mapped_vectors import mapped_scores, orthogonal_map, piece_vectors
from tests.corpora import corpus_of

FIRST = SENTENCEPIECE.first_regular
OTHER_IDS = 7 * np.arange(40) % 40


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


@pytest.fixture(scope="module")
def opened():
    """200 documents of 12 words, each of one of five topics with 8 words; in "de" and "fr" with other ids."""
    topic = np.arange(200)[:, None] % 5
    words = np.random.default_rng(0).integers(0, 8, (200, 12)) + 8 * topic

    def language(ids: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(training=corpus_of(*(FIRST + ids[words])))

    class Opened(dict):
        tokenizer = SimpleNamespace(vocab_size=FIRST + 40, special=SENTENCEPIECE)

    return Opened(en=language(np.arange(40)), de=language(OTHER_IDS), fr=language(OTHER_IDS))


def test_words_of_one_topic_are_close(opened):
    vectors = piece_vectors(opened["en"], opened, 40)[FIRST:]
    topic = np.arange(40) // 8
    same, cosines = topic[:, None] == topic, vectors @ vectors.T
    assert cosines[same].mean() > cosines[~same].mean() + 0.5


def test_translations_are_found_after_the_map(opened):
    first = [np.array([FIRST + i]) for i in range(40)]
    groups = np.arange(40)
    second = [np.array([FIRST + i]) for i in OTHER_IDS]
    words = Translations(("en", "de"), "words", "a file", first, second, groups, groups)
    sentences = words._replace(kind="sentences")
    scores = mapped_scores(opened, [sentences, words], 40)
    assert [name.split(",")[0] for name in scores] == ["sentences", "words"]
    for of in scores.values():  # words of a topic have the same contexts: four of them are in the half
        assert of["mrr"] > 0.35  # by chance 0.18


def test_the_map_needs_words_of_both_languages(opened):
    words = translations(40)
    assert mapped_scores(opened, [words._replace(kind="sentences")], 1) == {}
    other = words._replace(kind="sentences", languages=("en", "fr"))
    assert [*mapped_scores(opened, [other, words], 1)] == ["words, en and de, a file"]
