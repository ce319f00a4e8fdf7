"""Translations as tokens, embeddings of texts by all layers, and the vector between two languages."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.languages import Language, Languages
from ssl_jax.data.parallel_text import Pairs
from ssl_jax.data.special_tokens import SENTENCEPIECE
from ssl_jax.errors import UserError
from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.models.hidden_states import hidden_states
from ssl_jax.recipes.alignment import (
    Embedder,
    Translations,
    distinct_sentences,
    retrieval,
    translations,
)
from ssl_jax.recipes.language_vector import Blanks, converted, languages_of_tokens, with_vector
from tests.corpora import corpus_of

CONFIG = BertConfig(vocab_size=11, positions=8, layers=3, width=8, heads=2, mlp_width=16)


class Letters:
    """A tokenizer whose tokens are letters."""

    def encode_batch(self, texts):
        return [[ord(letter) - ord("a") + 5 for letter in text if letter.isalpha()] for text in texts]


class Opened:
    tokenizer = Letters()


def test_a_text_is_taken_once_with_all_of_its_translations():
    pairs = Pairs(["a", "a", "b", "c"], ["x", "y", "z", "1"], "a file", 0)
    found = translations(pairs, ("en", "de"), "words", Opened(), 8, 10)
    assert [ids.tolist() for ids in found.first] == [
        [5],
        [6],
    ]  # "1" has no piece, so that "c" has no translation
    assert [ids.tolist() for ids in found.second] == [[28], [29], [30]]
    a, b = found.first_groups
    assert found.second_groups.tolist() == [a, a, b]
    assert len(translations(pairs, ("en", "de"), "words", Opened(), 8, 2).first) == 1


def test_no_pair_has_pieces():
    with pytest.raises(UserError, match="no pair of which both sides have pieces"):
        translations(Pairs(["1"], ["a"], "a file", 0), ("en", "de"), "words", Opened(), 8, 10)


def test_halves_divide_the_pairs():
    groups = np.array([0, 1, 2, 2, 3])
    tokens = [np.array([i]) for i in range(5)]
    whole = Translations(("en", "de"), "words", "a file", tokens, tokens, groups, groups)
    validation, test = whole.halves()
    assert [ids.item() for ids in validation.first] == [0, 2, 3]
    assert test.second_groups.tolist() == [1, 3]


def test_embeddings_are_centred_by_the_training_text():
    class Sums(Embedder):
        def __init__(self):
            self._length, self._training = 8, {}

        def embed(self, encoder, texts, language):
            return np.array([[ids.sum()] for ids in texts], np.float32)

    training = corpus_of([5, 6, 7, 8], [7, 7, 7, 7], [7, 7, 7, 7], [9] * 7)  # one twice, one too long
    language = Language("en", training, corpus_of([50, 50, 50, 50]), 0, 1.0)
    assert Sums().centre({}, language) == pytest.approx((26 + 28) / 2)
    assert [ids.sum() for ids in distinct_sentences(language, 8, 10)] == [200]


def test_both_directions_count():
    # Each query of the first language finds its translation; of the second, one finds the wrong one first.
    first, second = np.eye(3, dtype=np.float32)[[0, 1]], np.array([[1, 0, 0], [0.9, 0.8, 0]], np.float32)
    groups = np.arange(2)
    of = Translations(("en", "de"), "words", "a file", [], [], groups, groups)
    scores = retrieval(first, second, of)
    assert scores["p1"] == pytest.approx(np.mean([1, 1, 1, 0]))
    assert scores["mrr"] == pytest.approx(np.mean([1, 1, 1, 0.5]))


def encoder_and_batch(config=CONFIG):
    tokens = jnp.array([[2, 6, 7, 3], [2, 9, 3, 0]])
    batch = (tokens, jnp.zeros_like(tokens), (tokens > 0).astype(jnp.int32))
    return BertEncoder(config).init(jax.random.key(0), *batch)["params"], batch


@pytest.mark.parametrize("layer", range(4))
def test_a_vector_is_added_after_a_layer(layer):
    encoder, batch = encoder_and_batch()
    vector = np.linspace(-1, 1, 8).astype(np.float32)
    before = np.asarray(hidden_states(CONFIG, encoder, *batch))
    after = hidden_states(CONFIG, with_vector(encoder, CONFIG, layer, vector), *batch)
    np.testing.assert_array_equal(after[:layer], before[:layer])
    np.testing.assert_allclose(after[layer], before[layer] + vector, atol=1e-6)
    assert all(np.abs(after[i] - before[i]).max() > 1e-3 for i in range(layer, 4))


def test_a_vector_on_shared_layers():
    shared = dataclasses.replace(CONFIG, share_layers=True, embedding_width=4)
    encoder, batch = encoder_and_batch(shared)
    vector = np.ones(8, np.float32)
    states = hidden_states(shared, with_vector(encoder, shared, 0, vector), *batch)
    np.testing.assert_allclose(states[0] - hidden_states(shared, encoder, *batch)[0], 1, atol=1e-5)
    with pytest.raises(UserError, match="the first layer alone"):
        with_vector(encoder, shared, 1, vector)


def test_what_blanks_are_filled_with():
    labels = np.array([[-1, 5, 6], [-1, -1, 7]])
    filled = np.array([[9, 15, 6], [9, 9, 8]])
    belongs = np.zeros(20, int)
    belongs[10:] = 1
    shares = converted(filled, Blanks(None, labels), belongs, {5: frozenset([15]), 6: frozenset([16])}, 0, 1)
    assert shares == pytest.approx({"first": 2 / 3, "second": 1 / 3, "same": 1 / 3, "translated": 1 / 2})
    assert np.isnan(converted(filled, Blanks(None, labels), belongs, {}, 0, 1)["translated"])


def test_a_token_of_two_languages_is_of_neither():
    class Tokenizer:
        special, vocab_size = SENTENCEPIECE, 10

    # Per token of text: 6 is of English, 7 of both, 8 mostly of German, although its count is the same; 9 of none.
    english = corpus_of([6] * 80 + [7] * 15 + [8] * 5)
    german = corpus_of([7] * 5 + [8] * 5)
    parts = [Language(name, corpus, corpus, 0, 0.5) for name, corpus in (("en", english), ("de", german))]
    opened = Languages(tuple(parts), Tokenizer(), 10)
    assert languages_of_tokens(opened, 12)[5:].tolist() == [-1, 0, -1, 1, -1, -1, -1]
