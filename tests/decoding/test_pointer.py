"""Texts of a pointer-generator: the loop with a cache, the same predictions in one call, and a `Decoder`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding.generate import generate
from ssl_jax.decoding.pointer import Writing, pointer_decoder, write_texts
from ssl_jax.models.encoder_decoder import EncoderDecoderConfig
from ssl_jax.models.pointer import IMPOSSIBLE, PointerGenerator

VOCAB, USED, LENGTH, SOURCE = 16, 12, 5, 9
WRITING = Writing(length=LENGTH, begin=2, end=3, pad=0, first_regular=5)
MODEL = PointerGenerator(
    EncoderDecoderConfig(
        vocab_size=VOCAB,
        positions=12,
        layers=1,
        decoder_layers=1,
        width=8,
        heads=2,
        mlp_width=8,
        dropout=0.0,
        attention_dropout=0.0,
        norm="pre",
        initializer_stddev=0.7,
    )
)
BATCH = 64
TOKENS = np.random.default_rng(0).integers(5, USED, (BATCH, SOURCE)).astype(np.int32)
TOKENS[:, 0], TOKENS[:, -1] = 2, 3
PRESENT = np.ones(TOKENS.shape, bool)
USED_IDS = np.full(BATCH, USED, np.int32)
PLACES = jnp.arange(LENGTH, dtype=jnp.int32)


@pytest.fixture(scope="module")
def params():
    allowed = jnp.ones((1, 1, VOCAB), bool)
    return jax.jit(MODEL.init)(jax.random.key(0), TOKENS, PRESENT, TOKENS[:, :LENGTH], allowed)["params"]


@pytest.fixture(scope="module")
def predict(params):
    def predict(tokens):
        allowed = WRITING.allowed(VOCAB, USED_IDS, PLACES)
        return MODEL.apply({"params": params}, TOKENS, PRESENT, WRITING.inputs(tokens), allowed)

    return jax.jit(predict)


@pytest.fixture(scope="module")
def written(params):
    write = jax.jit(lambda key: write_texts(MODEL, params, TOKENS, PRESENT, USED_IDS, WRITING, key))
    return jax.device_get(write(jax.random.key(1)))


def test_greedy_texts_are_the_likeliest_tokens_of_the_same_network_in_one_call(written, predict):
    greedy, _ = written
    likeliest = np.asarray(predict(greedy.tokens)).argmax(-1)
    np.testing.assert_array_equal(greedy.tokens[greedy.present], likeliest[greedy.present])
    assert len(np.unique(greedy.tokens)) > 3


def test_texts_end_once_and_have_only_words_before(written):
    for texts in written:
        lengths = texts.present.sum(-1)
        assert lengths.min() >= 2  # a word, then [EOS]
        assert lengths.max() == LENGTH
        for tokens, length in zip(texts.tokens, lengths, strict=True):
            assert not tokens[length:].any()
            assert ((tokens[: length - 1] >= 5) & (tokens[: length - 1] < USED)).all()
            assert tokens[length - 1] == 3 or length == LENGTH


def test_probabilities_sum_to_one_over_what_may_be_written(written, predict):
    log_probs = np.asarray(predict(written[1].tokens))
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-4)
    never = [0, 1, 2, 4, *range(USED, VOCAB)]
    assert (log_probs[..., never] == IMPOSSIBLE).all()
    assert (log_probs[:, 0, 3] == IMPOSSIBLE).all()


def test_first_tokens_are_drawn_by_their_probabilities(params, predict):
    """Of one source in every row, with other keys: shares of 1,280 draws, whose standard deviation is below 0.014."""
    same = np.repeat(TOKENS[:1], BATCH, axis=0)
    draw = jax.jit(
        lambda keys: jax.lax.map(
            lambda key: write_texts(MODEL, params, same, PRESENT, USED_IDS, WRITING, key)[1].tokens[:, 0],
            keys,
        )
    )
    found = np.asarray(draw(jax.random.split(jax.random.key(2), 20))).ravel()
    shares = np.bincount(found, minlength=VOCAB) / len(found)
    expected = np.exp(np.asarray(predict(np.zeros((BATCH, LENGTH), np.int32)))[0, 0])
    np.testing.assert_allclose(shares, expected, atol=0.056)
    assert expected.max() < 0.9


def test_commands_write_the_same_texts_and_end_them_at_the_length(params):
    every_id = np.full(BATCH, VOCAB, np.int32)
    write = jax.jit(lambda: write_texts(MODEL, params, TOKENS, PRESENT, every_id, WRITING))
    expected, _ = jax.device_get(write())
    decoder = pointer_decoder(MODEL, WRITING, blank=4)
    lengths = np.full(BATCH, SOURCE, np.int32)
    found = generate(decoder, {"generator": params}, TOKENS, lengths, max_new_tokens=8, end=3)
    for ours, length, tokens, present in zip(
        found.tokens, found.lengths, expected.tokens, expected.present, strict=True
    ):
        text = tokens[present & (tokens != 3)]
        assert length <= LENGTH - 1
        np.testing.assert_array_equal(ours[:length], text[: LENGTH - 1])
