"""Embeddings of words in sentences, and neighbours of them, compared with what the parts give by hand; encoders of
folders of weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from ssl_jax.data.tokenizers import WordPiece
from ssl_jax.data.word_senses import Occurrence
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import save_bert
from ssl_jax.hub.tokenizer_files import save_tokenizer
from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.recipes.word_embeddings import embed_all_words, embed_contexts, embed_words, word_spans
from ssl_jax.recipes.word_senses import find_neighbours
from ssl_jax.runs.pretrained_encoder import check_encoder, open_encoder

PIECES = ["the", "cat", "s", "##at", "##s", "on", "a", "mat", "."]
VOCABULARY = ["[PAD]", *[f"[unused{i}]" for i in range(99)], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *PIECES]
TOKENIZER = WordPiece(VOCABULARY)
CONFIG = BertConfig(
    vocab_size=len(VOCABULARY),
    positions=16,
    layers=2,
    width=8,
    heads=2,
    mlp_width=16,
    initializer_stddev=0.3,
    pooler=False,
)
CATS, SAT = Occurrence("The cats sat.", "animal", 4, 8), Occurrence("A mat on a cat.", "animal", 11, 14)
TEXT = ["The cat on the mat.", "Cats."]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A folder of weights with its tokenizer."""
    folder = epath.Path(tmp_path_factory.mktemp("weights"))
    token = jnp.zeros((1, 1), jnp.int32)
    params = jax.jit(BertEncoder(CONFIG).init)(jax.random.key(1), token, token, token)["params"]
    save_bert(folder, CONFIG, {"encoder": params})
    save_tokenizer(folder, TOKENIZER, CONFIG.positions)
    return folder


@pytest.fixture(scope="module")
def encoder(weights):
    return open_encoder(str(weights), "--model")


def last_layer(encoder, text):
    """The ids of a sentence with [CLS] and [SEP], and the output of the encoder for them."""
    ids = [101, *TOKENIZER.encode(text), 102]
    tokens = jnp.asarray(ids + [0] * (16 - len(ids)), jnp.int32)[None]
    present = (jnp.arange(16, dtype=jnp.int32) < len(ids)).astype(jnp.int32)[None]
    return ids, np.asarray(forward(encoder.params, tokens, present))[0, : len(ids)]


@jax.jit
def forward(params, tokens, present):
    return BertEncoder(CONFIG).apply({"params": params}, tokens, present * 0, present).hidden


def test_a_word_is_the_mean_of_its_pieces(encoder):
    found = embed_words(encoder, [CATS, SAT], TEXT, 16)
    assert len(found.layers) == 3
    ids, hidden = last_layer(encoder, CATS.text)
    np.testing.assert_allclose(found.layers[-1].vectors[0], hidden[2:4].mean(0), atol=1e-5)
    table = np.asarray(encoder.params["embeddings"]["token"]["embedding"])
    np.testing.assert_allclose(found.static.vectors[0], table[ids[2:4]].mean(0), atol=1e-6)
    context = [ids[1], *ids[4:-1]]
    np.testing.assert_allclose(found.context.vectors[0], table[context].mean(0), atol=1e-6)
    _, hidden = last_layer(encoder, SAT.text)
    np.testing.assert_allclose(found.layers[-1].vectors[1], hidden[5], atol=1e-5)

    both = [last_layer(encoder, text) for text in TEXT]
    everything = np.concatenate([hidden[1:-1] for _, hidden in both])
    np.testing.assert_allclose(found.layers[-1].centre, everything.mean(0), atol=1e-5)
    tokens = [token for ids, _ in both for token in ids[1:-1]]
    np.testing.assert_allclose(found.static.centre, table[tokens].mean(0), atol=1e-6)
    np.testing.assert_array_equal(found.context.centre, found.static.centre)


def test_all_words_of_a_text(encoder):
    texts = ["The cats sat, on 2 mats.", ""]
    assert word_spans(texts[0]) == [(0, 3), (4, 8), (9, 12), (14, 16), (19, 23)]
    vectors, places = embed_all_words(encoder, texts, 6)
    assert places == [(0, 0, 3), (0, 4, 8)]  # the row ends within the third
    vectors, places = embed_all_words(encoder, texts, 16)
    assert [texts[0][start:end] for _, start, end in places] == ["The", "cats", "sat", "on", "mats"]
    _, hidden = last_layer(encoder, texts[0])
    np.testing.assert_allclose(vectors[1], hidden[2:4].mean(0), atol=1e-5)


def test_neighbours_are_words_of_other_sentences(encoder):
    occurrences = [CATS, SAT._replace(sense="other")]
    last = embed_words(encoder, occurrences, TEXT, 16).layers[-1]
    found = find_neighbours(encoder, {"cat": occurrences}, last, [*TEXT, CATS.text], 16)
    vectors, places = embed_all_words(encoder, TEXT, 16)
    centred = vectors - last.centre
    query = last.vectors[1] - last.centre
    cosines = centred @ query / np.linalg.norm(centred, axis=1) / np.linalg.norm(query)
    each, near = found["cat"]["other"]
    assert each is occurrences[1]
    order = np.argsort(-cosines)[:3]
    np.testing.assert_allclose([one.cosine for one in near], cosines[order], atol=1e-5)
    assert [(one.text, one.start, one.end) for one in near] == [
        (TEXT[places[i][0]], *places[i][1:]) for i in order
    ]
    assert find_neighbours(encoder, {"cat": occurrences}, last, [CATS.text], 16) == {}


def test_contexts_of_word_vectors():
    vectors = np.arange(2 * len(VOCABULARY), dtype=np.float32).reshape(-1, 2) ** 2
    the, cat, on, a, mat = (vectors[VOCABULARY.index(word)] for word in ("the", "cat", "on", "a", "mat"))
    of = [Occurrence("The zebra cat on a mat", "animal", 10, 13), Occurrence("The zebra", "animal", 0, 3)]
    found = embed_contexts(vectors, TOKENIZER, 2, of, ["the cat zebra"])
    np.testing.assert_allclose(found.vectors, [(the + on + a) / 3, [0, 0]])
    assert mat.sum() > 0
    np.testing.assert_allclose(found.centre, (the + cat) / 2)


def test_an_untrained_encoder_depends_on_the_seed(encoder):
    first, same, other = (encoder.at_random(seed).params for seed in (1, 1, 2))
    assert jax.tree.map(np.shape, first) == jax.tree.map(np.shape, encoder.params)
    jax.tree.map(np.testing.assert_array_equal, first, same)
    jax.tree.map(np.testing.assert_array_equal, first, encoder.params)  # the folder has those of seed 1
    assert np.abs(first["layers"]["mlp"]["up"]["kernel"] - other["layers"]["mlp"]["up"]["kernel"]).max() > 0.1


def test_weights_without_their_tokenizer(weights, tmp_path):
    folder = epath.Path(tmp_path)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((weights / name).read_bytes())
    with pytest.raises(UserError, match=r"--model .*: has no tokenizer; expected one of the files"):
        check_encoder(str(folder), "--model")
    WordPiece([*VOCABULARY, "dog"]).save(folder)
    with pytest.raises(UserError, match="its tokenizer has 114 pieces, its model 113"):
        check_encoder(str(folder), "--model")
