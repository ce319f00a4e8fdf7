"""Selections of the smallest keys and of the largest probabilities, and the order of keys."""

import jax
import jax.numpy as jnp

from ssl_jax.ops.operation import Operation

KEY_BITS = 31
"""Bits of a key that `smallest` may select."""


@Operation
def smallest(keys: jax.Array, count: jax.Array) -> jax.Array:
    """bool `[n]`: which keys are the `count` smallest of those below 2^31, or all of these if there are fewer.

    Args:
      keys: uint32 `[n]`; those below 2^31 are distinct.
      count: int32 scalar.
    """
    rank = jnp.argsort(jnp.argsort(keys))
    return (rank < count) & (keys < jnp.uint32(2**KEY_BITS))


@smallest.fast_form
def _fast_smallest(keys: jax.Array, count: jax.Array) -> jax.Array:
    # The largest key that is selected is found bit by bit, by counting the keys below: on a CPU a good deal faster than
    # sorting them, and a few reductions on any device.
    def next_bit(i: jax.Array, largest: jax.Array) -> jax.Array:
        larger = largest | (jnp.uint32(2 ** (KEY_BITS - 1)) >> i.astype(jnp.uint32))
        below = jnp.sum(keys < larger, dtype=jnp.float32)  # faster than in integers, and exact
        return jnp.where(below < count.astype(jnp.float32), larger, largest)

    largest = jax.lax.fori_loop(0, KEY_BITS, next_bit, jnp.uint32(0))
    return (keys <= largest) & (count > 0)


def index_bits(length: int) -> int:
    """Number of low bits of a key of `argsort_keys` that are its index, in an array of this length."""
    return max(1, (length - 1).bit_length())


@Operation
def argsort_keys(keys: jax.Array) -> jax.Array:
    """int32 `[n]`, the indices of keys in ascending order.

    Args:
      keys: uint32 `[n]`; the low `index_bits(n)` bits of each are its index.
    """
    return jnp.argsort(keys).astype(jnp.int32)


@argsort_keys.fast_form
def _fast_argsort_keys(keys: jax.Array) -> jax.Array:
    # By a sort of one array of integers: a stable sort, a sort of pairs, and top_k are several times slower on a CPU.
    low = jnp.uint32(2 ** index_bits(keys.shape[0]) - 1)
    return (jnp.sort(keys, stable=False) & low).astype(jnp.int32)


@Operation
def mass_threshold(probabilities: jax.Array, mass: float) -> jax.Array:
    """The largest threshold for which the probabilities that reach it sum to `mass` at least.

    Args:
      probabilities: float32 `[..., n]`.
      mass: above 0 and at most 1.

    Returns:
      float32 `[..., 1]`: one of the probabilities, or 0 if their sum is less than `mass` by rounding.
    """
    descending = -jnp.sort(-probabilities, axis=-1)
    return jnp.where(descending.cumsum(-1) >= mass, descending, 0.0).max(-1, keepdims=True)


@mass_threshold.fast_form
def _fast_mass_threshold(probabilities: jax.Array, mass: float) -> jax.Array:
    # By bisection: on a CPU, sorting a vocabulary of 50,257 for eight rows takes longer than GPT-2 small does for their
    # next token.
    def value(bits: jax.Array) -> jax.Array:
        return jax.lax.bitcast_convert_type(bits, jnp.float32)

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        reached = jnp.where(probabilities >= value(middle), probabilities, 0.0).sum(-1, keepdims=True)
        return jnp.where(reached >= mass, middle, low), jnp.where(reached >= mass, high, middle)

    # Positive floats have the order of their bits as integers: 30 halvings from 1.0 reach the exact one.
    most = probabilities.max(-1, keepdims=True)
    above = jax.lax.bitcast_convert_type(most, jnp.int32) + 1
    bits, _ = jax.lax.fori_loop(0, 30, halve, (jnp.zeros_like(above), above))
    return value(bits)
