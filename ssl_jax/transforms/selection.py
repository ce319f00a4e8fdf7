"""Random choices from random bits that were drawn at once, and indices for removing elements from an array."""

import jax
import jax.numpy as jnp

from ssl_jax.ops.reductions import cumsum
from ssl_jax.ops.selection import index_bits, smallest


def uniform(bits: jax.Array) -> jax.Array:
    """Uniform float32 in [0, 1) with 24 random bits, from random uint32."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def random_keys(bits: jax.Array, candidates: jax.Array) -> jax.Array:
    """Distinct random keys: below 2^31 for candidates, and 2^31 or more for others.

    The low bits of a key are its index, so that no two keys are equal. That leaves 24 random bits at 128 tokens, and 22
    at 512.

    Args:
      bits: uint32 `[length]`, random.
      candidates: bool `[length]`.

    Returns:
      uint32 `[length]`.
    """
    length = candidates.shape[0]
    low = index_bits(length)
    priority = jnp.where(candidates, bits >> (low + 1), jnp.uint32(1 << (31 - low)))
    return (priority << low) | jnp.arange(length, dtype=jnp.uint32)


def choose(bits: jax.Array, candidates: jax.Array, count: jax.Array) -> jax.Array:
    """Draws a uniformly random subset of `count` candidates, or all of them if there are fewer.

    Args:
      bits: uint32 `[length]`, random.
      candidates: bool `[length]`.
      count: int32 scalar.

    Returns:
      bool `[length]`.
    """
    return smallest(random_keys(bits, candidates), count)


def compaction_indices(kept: jax.Array) -> jax.Array:
    """The index of each kept element after all others have been removed.

    Args:
      kept: bool `[length]`.

    Returns:
      int32 `[length]`; `length`, which a scatter drops, for removed elements.
    """
    return jnp.where(kept, cumsum(kept) - 1, kept.shape[0])
