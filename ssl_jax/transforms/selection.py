"""Random choices from bits that were drawn at once, and the places of what is left after a removal."""

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 32
"""Numbers that `running_sum` adds up at once."""
KEY_BITS = 31
"""Of a key in `choose`; what is no candidate lies above."""


def uniform(bits: jax.Array) -> jax.Array:
    """float32 in [0, 1), which has 24 bits, from uint32."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def running_sum(x: jax.Array) -> jax.Array:
    """[length] int32: at each place the sum up to it and with it, of numbers that add up to less than 2^24.

    In blocks, by products with triangles of ones; on a CPU that takes a fifth of the time of `jnp.cumsum`.
    """
    (length,) = x.shape
    blocks = -(-length // BLOCK)
    x = jnp.pad(x.astype(jnp.float32), (0, blocks * BLOCK - length)).reshape(blocks, BLOCK)
    within = jnp.matmul(x, np.triu(np.ones((BLOCK, BLOCK), np.float32)), precision="highest")
    before = jnp.matmul(
        np.tril(np.ones((blocks, blocks), np.float32), -1), within[:, -1], precision="highest"
    )
    return (within + before[:, None]).reshape(-1)[:length].astype(jnp.int32)


def choose(bits: jax.Array, candidates: jax.Array, count: jax.Array) -> jax.Array:
    """A uniformly random subset of `count` candidates, or all of them if there are fewer.

    Each candidate gets a random key, and the `count` smallest are taken. The largest of these is found bit by bit, by
    counting: on a CPU a good deal faster than sorting the keys, and on any device a few reductions.

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
    keys = (bits >> (index_bits + 1) << index_bits) | jnp.arange(length, dtype=jnp.uint32)
    keys = jnp.where(candidates, keys, jnp.uint32(2**32 - 1))

    def next_bit(i: jax.Array, largest: jax.Array) -> jax.Array:
        larger = largest | (jnp.uint32(2 ** (KEY_BITS - 1)) >> i.astype(jnp.uint32))
        below = jnp.sum(keys < larger, dtype=jnp.float32)  # faster than in integers, and exact
        return jnp.where(below < count, larger, largest)

    largest = jax.lax.fori_loop(0, KEY_BITS, next_bit, jnp.uint32(0))
    return (keys <= largest) & candidates & (count > 0)


def places(kept: jax.Array) -> jax.Array:
    """[length] int32: where what is kept goes when the rest is taken out; `length` for the rest, to be dropped."""
    return jnp.where(kept, running_sum(kept) - 1, kept.shape[0])
