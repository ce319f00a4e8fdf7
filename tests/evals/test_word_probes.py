"""Probes of tags on the vectors of words: which words, which vectors, and the baseline of the most frequent tag."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.tokenizers import WordPiece
from ssl_jax.data.word_vocabulary import in_googles_layout
from ssl_jax.errors import UserError
from ssl_jax.evals.word_probes import ProbedWords, word_vectors
from ssl_jax.models.bert import BertConfig, BertEncoder

PIECES = ["a", "b", "c", "##d", "##e"]
SENTENCES = [
    TaggedWords((*"ab", "cd", *"ba"[: number % 3]), (*"XY", "Z", *"YX"[: number % 3])) for number in range(3)
] + [TaggedWords((*"ab" * number, "cd"), (*"XY" * number, "Z")) for number in range(1, 30)]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPiece(in_googles_layout(PIECES))


@pytest.mark.parametrize("share_layers", [False, True])
def test_a_word_has_the_mean_of_its_pieces_in_every_layer(share_layers):
    sizes = {"vocab_size": 20, "positions": 8, "layers": 2, "width": 8, "heads": 2, "mlp_width": 8}
    config = BertConfig(**sizes, embedding_width=4, share_layers=share_layers, initializer_stddev=0.5)
    tokens = jnp.array([[3, 9, 5, 7, 4, 0]])
    inputs = (tokens, jnp.zeros_like(tokens), (tokens > 0).astype(jnp.int32))
    params = jax.jit(BertEncoder(config).init)(jax.random.key(0), *inputs)["params"]
    batch = dict(zip(("tokens", "token_type_ids", "segment_ids"), inputs, strict=True))
    batch |= {"starts": jnp.array([[1, 2, 0]]), "stops": jnp.array([[2, 4, 0]])}
    found = jax.jit(word_vectors(config))({"encoder": params}, {}, batch)
    assert found.shape == (1, 3, 3, 8)
    for layers in (1, 2):
        shorter = BertConfig(**sizes | {"layers": layers}, embedding_width=4, share_layers=share_layers)
        own = {**params, "layers": params["layers"]}
        if not share_layers:
            own["layers"] = jax.tree.map(lambda x, layers=layers: x[:layers], params["layers"])
        hidden = jax.jit(BertEncoder(shorter).apply)({"params": own}, *inputs).hidden[0]
        np.testing.assert_allclose(found[0, 0, layers], hidden[1], atol=1e-5)
        np.testing.assert_allclose(found[0, 1, layers], hidden[2:4].mean(0), atol=1e-5)
    assert not found[0, 2].any()


def test_tags_are_told_by_vectors_that_have_them(tokenizer):
    probed = ProbedWords("kinds", SENTENCES, tokenizer, length=12, sentences_used=100)
    assert probed.tags == 3
    assert probed.baseline == 1  # each word has one tag

    def vectors(informative):
        def of_rows(dataset):
            found = []
            for row in dataset:
                first = row["tokens"][row["starts"]]
                layer = np.eye(200, dtype=np.float32)[first] if informative else np.ones((4, 200), np.float32)
                found.append(layer[:, None])
                words = [row["tokens"][a:b] for a, b in zip(row["starts"], row["stops"], strict=True) if b]
                assert all(len(word) == (1 if word[0] < 106 else len(word)) for word in words)
                assert all(set(word[1:]) <= {107, 108} for word in words)
                assert len(words) == 4 or len(words) == (row["tokens"] > 103).sum() - sum(
                    len(word) - 1 for word in words
                )
            return np.stack(found)

        return of_rows

    [known] = probed.accuracies(vectors(informative=True))
    [unknown] = probed.accuracies(vectors(informative=False))
    assert known == 1
    assert unknown < 0.7


def test_words_without_a_tag_are_left_out_unless_tags_mark_entities(tokenizer):
    def words(*names):
        chance = np.random.default_rng(0)
        some = [tuple(chance.choice([*"abc"], 8)) for _ in range(30)]
        tagged = [TaggedWords(one, tuple(names["abc".index(word)] for word in one)) for one in some]
        probed = ProbedWords("x", tagged, tokenizer, length=16, sentences_used=30)
        return probed.training + probed.tests, probed.tags

    assert words("fruit", "company", "O")[1] == 2
    assert words("fruit", "company", "O")[0] < 120
    assert words("B-fruit", "I-fruit", "O") == (120, 3)


def test_what_cannot_be_probed(tokenizer):
    one = [TaggedWords((word, "a"), ("X", "X")) for word in ("a", "b", "c", "cd", "cde")]
    with pytest.raises(UserError, match="probe one: its training words have fewer than two tags"):
        ProbedWords("one", one, tokenizer, length=8, sentences_used=9)
