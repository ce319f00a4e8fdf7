"""Codes through bytes and back, and files that cannot be read."""

import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.decoding import entropy_coding
from ssl_jax.decoding.entropy_coding import HEADER, ROWS, compress, decompress, fingerprint
from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.errors import UserError
from ssl_jax.methods.code_prior import without_begin
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config

CODES, PLACES, IMAGES = 16, 12, ROWS + 9
MODEL = Gpt2(
    Gpt2Config(
        vocab_size=CODES + 1,
        positions=PLACES + 1,
        layers=1,
        width=16,
        heads=2,
        mlp_width=32,
        initializer_stddev=0.6,
    )
)
DECODER = without_begin(MODEL)
OWN = b"12345678"


@pytest.fixture(scope="module")
def params():
    return jax.jit(MODEL.init)(jax.random.key(0), jnp.zeros((1, PLACES), jnp.int32))["params"]


@pytest.fixture(scope="module")
def codes():
    return np.random.default_rng(0).integers(0, CODES, (IMAGES, PLACES), np.int32)


@pytest.fixture(scope="module")
def content(params, codes):
    return compress(DECODER, params, codes, begin=CODES, model=OWN)


def read(params, content, model=OWN, most=IMAGES):
    return decompress(
        DECODER, params, content, most=most, places=PLACES, begin=CODES, model=model, name="FILE"
    )


def test_codes_come_back(params, codes, content):
    np.testing.assert_array_equal(read(params, content), codes)


@pytest.mark.parametrize("images", [0, 1, ROWS])
def test_of_any_number(params, codes, images):
    few = codes[:images]
    written = compress(DECODER, params, few, begin=CODES, model=OWN)
    np.testing.assert_array_equal(read(params, written), few)


def test_size_is_what_the_model_expects(params, codes, content):
    """Within a word and a half at the end, and what 24 bits leave out of a probability."""
    begins, ones = np.full((IMAGES, 1), CODES, np.int32), np.ones(IMAGES, np.int32)
    nats = continuation_log_likelihood(DECODER, params, begins, ones, codes, ones * PLACES)
    bits = -float(np.asarray(nats, float).sum()) / np.log(2)
    assert bits > 0.5 * np.log2(CODES) * codes.size
    assert -8 <= 8 * (len(content) - HEADER.size) - bits <= 48 + 1e-3 * bits


def test_truncated_anywhere(params, content):
    for length in (0, 3, HEADER.size - 1):
        with pytest.raises(UserError, match="FILE: not a file of codes, or truncated"):
            read(params, content[:length])
    for length in (HEADER.size, HEADER.size + 5, len(content) - 1):
        with pytest.raises(UserError, match="FILE: truncated or damaged"):
            read(params, content[:length])
    for place in (*range(4, HEADER.size), HEADER.size + 9, len(content) - 3):
        flipped = bytearray(content)
        flipped[place] ^= 16
        with pytest.raises(UserError, match="FILE: truncated or damaged"):
            read(params, bytes(flipped))


def test_a_file_of_a_stranger(params, content):
    """Its checksums are right, its number of images or its codes are not."""
    forged = entropy_coding._header(OWN, 2**32 - 1, 0, content[HEADER.size :]) + content[HEADER.size :]
    with pytest.raises(UserError, match=r"FILE: has 4,294,967,295 images; expected at most 73\."):
        read(params, forged)
    for payload in (b"", b"\xff" * 400, bytes(range(256))):
        with pytest.raises(UserError, match="FILE: "):
            read(params, entropy_coding._header(OWN, 5, 0, payload) + payload)


def test_of_another_model(params, content):
    other = jax.tree.map(lambda x: x + 0.25, params)
    assert fingerprint(other) != fingerprint(params) == fingerprint(jax.tree.map(np.asarray, params))
    with pytest.raises(UserError, match=f"written by model {OWN.hex()}, and this one is {b'87654321'.hex()}"):
        read(params, content, b"87654321")
    with pytest.raises(UserError, match="probabilities differ from those it was written with"):
        read(other, content)  # as if a machine computed others


def test_the_header_is_what_it_says(content):
    magic, model, images, _, _ = struct.unpack(">4s8sIII", content[:24])
    assert (magic, model, images, HEADER.size) == (entropy_coding.MAGIC, OWN, IMAGES, 24)
