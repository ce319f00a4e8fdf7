"""Dropout (https://jmlr.org/papers/v15/srivastava14a.html), and the random numbers that it uses."""

import functools

import jax
import jax.numpy as jnp

from ssl_jax.ops.operation import Operation
from ssl_jax.ops.recompute import recompute

WORDS = 2**32
"""Number of random words."""


@Operation
def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Sets elements to zero with probability `rate` and divides the others by 1 - rate; the identity without a key."""
    if key is None or _threshold(rate) == WORDS:
        return x
    keep = random_words(_seed(key), x.shape) < jnp.uint32(_threshold(rate))
    return jnp.where(keep, x / (1 - rate), jnp.zeros((), x.dtype))


@dropout.fast_form
def _fast_dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    return x if key is None or _threshold(rate) == WORDS else _drop(x, _threshold(rate), _seed(key))


@functools.partial(recompute, static_argnums=(1,))
def _drop(x: jax.Array, threshold: int, seed: jax.Array) -> jax.Array:
    # The backward pass computes the mask again, which is cheaper than to store and read it.
    keep = random_words(seed, x.shape) < jnp.uint32(threshold)
    return jnp.where(keep, x * (WORDS / threshold), jnp.zeros((), x.dtype))


def _threshold(rate: float) -> int:
    """Elements are kept whose random word is below it: at least one word in WORDS, all of them for a rate near 0."""
    return max(round((1 - rate) * WORDS), 1)


def _seed(key: jax.Array) -> jax.Array:
    return jax.random.bits(key, (2,), jnp.uint32)


def random_words(seed: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Random uint32 `[*shape]` for dropout, from a seed of two words.

    They are a hash of each element's position. This is many times cheaper than the cipher of jax.random, which dropout
    does not need. The compiler fuses the hash with what reads it, so that no array of random words is stored. The words
    depend on seed and position alone, hence not on how the array is sharded over devices.
    """
    first = jax.lax.broadcasted_iota(jnp.uint32, (shape[0],) + (1,) * (len(shape) - 1), 0)
    inner = (1, *shape[1:])
    rest = jnp.zeros(inner, jnp.uint32)
    for axis in range(1, len(shape)):
        rest = rest * shape[axis] + jax.lax.broadcasted_iota(jnp.uint32, inner, axis)
    return _mix(_mix(rest ^ seed[0]) ^ _mix(first ^ seed[1]))


def _mix(x: jax.Array) -> jax.Array:
    """A bijection of 32-bit words in which each input bit flips each output bit with probability near 1/2."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)
