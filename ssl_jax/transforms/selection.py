"""Random choices from bits that were drawn at once, and the places of what is left after a removal."""

import jax
import jax.numpy as jnp

from ssl_jax.ops.reductions import cumsum
from ssl_jax.ops.selection import KEY_BITS, smallest


def uniform(bits: jax.Array) -> jax.Array:
    """float32 in [0, 1), which has 24 bits, from uint32."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def choose(bits: jax.Array, candidates: jax.Array, count: jax.Array) -> jax.Array:
    """A uniformly random subset of `count` candidates, or all of them if there are fewer.

    Each candidate gets a random key, and those with the `count` smallest keys are taken.

    Args:
      bits: [length] uint32, random.
      candidates: [length] bool.
      count: int32 scalar.

    Returns:
      [length] bool.
    """
    length = candidates.shape[0]
    # The low bits are the index, so that no two keys are equal: 22 random bits are left at 512 tokens.
    index_bits = max(1, (length - 1).bit_length())
    keys = (bits >> (32 - KEY_BITS + index_bits) << index_bits) | jnp.arange(length, dtype=jnp.uint32)
    return smallest(jnp.where(candidates, keys, jnp.uint32(2**32 - 1)), count)


def places(kept: jax.Array) -> jax.Array:
    """[length] int32: where what is kept goes when the rest is taken out; `length` for the rest, to be dropped."""
    return jnp.where(kept, cumsum(kept) - 1, kept.shape[0])
