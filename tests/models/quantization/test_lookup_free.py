"""Lookup-free quantisation, and bits as the digits of codes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.quantization import lookup_free as quantizer

lookup_free, bits_to_codes = jax.jit(quantizer.lookup_free), jax.jit(quantizer.bits_to_codes)
lookup_free_vectors = jax.jit(quantizer.lookup_free_vectors, static_argnums=1)
codes_to_bits = jax.jit(quantizer.codes_to_bits, static_argnums=1)


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4)])
def test_signs_and_their_numbers(shape):
    x = normal((*shape, 5))
    x[..., 0] = 0  # which is negative
    ours = lookup_free(jnp.asarray(x))
    np.testing.assert_array_equal(ours.vectors, np.where(x > 0, 1, -1))
    np.testing.assert_array_equal(ours.codes, ((x > 0) * 2 ** np.arange(5)).sum(-1))
    np.testing.assert_array_equal(lookup_free_vectors(ours.codes, 5), ours.vectors)
    back = normal((*shape, 5), seed=1)
    np.testing.assert_array_equal(jax.vjp(lambda x: lookup_free(x).vectors, jnp.asarray(x))[1](back)[0], back)


def test_all_numbers_of_31_bits_are_written_and_read():
    numbers = jnp.array([0, 1, 2**30, 2**31 - 1, 123_456_789], jnp.int32)
    bits = codes_to_bits(numbers, 31)
    np.testing.assert_array_equal(bits, [[n >> i & 1 for i in range(31)] for n in numbers.tolist()])
    np.testing.assert_array_equal(bits_to_codes(bits), numbers)


def test_half_precision_keeps_its_type():
    assert lookup_free(jnp.asarray(normal((50, 4))).astype(jnp.bfloat16)).vectors.dtype == jnp.bfloat16


def test_more_than_31_channels_are_refused():
    with pytest.raises(UserError, match="of 32 channels"):
        lookup_free(jnp.zeros((2, 32)))
