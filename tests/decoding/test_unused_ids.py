"""A model with more ids than its tokenizer has: the others are never written, however probable they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding.beam import BeamConfig, beam_search
from ssl_jax.decoding.decoder import Decoder, DecodingState
from ssl_jax.decoding.generate import generate
from ssl_jax.decoding.sampling import SamplingConfig
from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.models.attention import Cache

VOCAB, USED, NEW = 23, 12, 6
BLANKS = (VOCAB - 1, VOCAB - 2)
"""Such as T5's sentinels, which are no pieces of text either."""
SAMPLINGS = (
    SamplingConfig(temperature=0.0),
    SamplingConfig(temperature=2.0, top_k=USED + 4),
    SamplingConfig(temperature=2.0, top_p=0.9),
)
TABLE = np.random.default_rng(0).normal(size=(VOCAB, VOCAB)).astype(np.float32)
TABLE[:, USED:] += 1  # unused ids are the likelier ones
PROMPTS, LENGTHS = np.array([[1], [5], [9]], np.int32), np.ones(3, np.int32)
NOTHING = DecodingState(Cache(layers=(), length=None, slot=None, present=None))


def start(table, prompts, lengths, room):
    return table[prompts[:, 0]], NOTHING


def extend(table, tokens, state):
    return table[tokens], state


DECODER = Decoder(lambda table: table, start, extend, positions=20, reads_source=False)
"""The next token depends on the last one."""


def write(decoder, sampling=SAMPLINGS[0]):
    settings = {"max_new_tokens": NEW, "end": None, "sampling": sampling, "key": jax.random.key(3)}
    return generate(decoder, jnp.asarray(TABLE), PROMPTS, LENGTHS, **settings).tokens


@pytest.mark.parametrize("blanks", [(), BLANKS], ids=["none", "blanks"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_unused_ids_are_never_drawn(sampling, blanks):
    decoder, used = DECODER._replace(blanks=blanks), {*range(USED), *blanks}
    unlimited = write(decoder, sampling)
    assert not set(unlimited.flat) <= used  # the model would write them
    limited = write(decoder._replace(vocab_size=USED), sampling)
    assert set(limited.flat) <= used
    assert (set(limited.flat) & set(BLANKS) != set()) == (blanks != ())
    # Where the model has no unused ids, nothing changes.
    np.testing.assert_array_equal(write(decoder._replace(vocab_size=VOCAB), sampling), unlimited)


def test_the_likeliest_used_id_is_written():
    texts = PROMPTS.tolist()
    for _ in range(NEW):
        for text in texts:
            text.append(int(TABLE[text[-1], :USED].argmax()))
    np.testing.assert_array_equal(write(DECODER._replace(vocab_size=USED)), np.array(texts)[:, 1:])


def test_beam_search_keeps_to_used_ids_and_scores_as_the_model_does():
    def search(decoder):
        settings = {"max_new_tokens": NEW, "end": None, "config": BeamConfig(beams=3)}
        return beam_search(decoder, jnp.asarray(TABLE), PROMPTS, LENGTHS, **settings)

    assert search(DECODER).tokens.max() >= USED
    found = search(DECODER._replace(vocab_size=USED))
    assert found.tokens.max() < USED
    scored = _scores(DECODER, found.tokens)
    np.testing.assert_allclose(found.scores, scored.sum(1) / NEW, rtol=1e-5)
    np.testing.assert_array_equal(_scores(DECODER._replace(vocab_size=USED), found.tokens), scored)


def _scores(decoder, tokens):
    lengths = np.full(len(tokens), tokens.shape[1], np.int32)
    return np.asarray(
        continuation_log_likelihood(decoder, jnp.asarray(TABLE), PROMPTS, LENGTHS, tokens, lengths)
    )
