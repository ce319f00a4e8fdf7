"""Relative positions in buckets, as biases of the attention logits (T5, arXiv:1910.10683, section 2.1)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.layers import Table


def relative_bucket(distance: jax.Array, buckets: int, farthest: int, both_sides: bool) -> jax.Array:
    """The bucket of each distance.

    Half of the buckets (of a side) hold one distance each, from 0 on; the others share out the distances up to
    `farthest` evenly on a logarithmic scale, and the last one also holds all beyond it.

    Args:
        distance: int, the position of the key less that of the query.
        buckets: how many.
        farthest: distances from which on all are alike.
        both_sides: keys after the query have the second half of the buckets to themselves; otherwise they are
            put with distance 0.

    Returns:
        int, of the same shape, from 0 to `buckets - 1`.
    """
    first = 0
    if both_sides:
        buckets //= 2
        first = jnp.where(distance > 0, buckets, 0)
        distance = jnp.abs(distance)
    else:
        distance = jnp.maximum(-distance, 0)
    # Looked up, so that no logarithm of a device decides on which side of a border a distance lies.
    return first + jnp.asarray(_one_side(buckets, farthest))[jnp.minimum(distance, farthest)]


def _one_side(buckets: int, farthest: int) -> np.ndarray:
    """The bucket of each distance from 0 to `farthest`."""
    distance, exact = np.arange(farthest + 1), buckets // 2
    share = np.log(np.maximum(distance, exact) / exact) / math.log(farthest / exact)
    coarse = exact + (share * (buckets - exact) + 1e-9).astype(
        np.int32
    )  # a whole number is not to fall short
    return np.where(distance < exact, distance, np.minimum(coarse, buckets - 1)).astype(np.int32)


class RelativePositions(nn.Module):
    """The bias of each head for each pair of positions.

    Args of a call:
        queries: int `[batch, query]`, positions.
        keys: int `[batch, key]`, positions.

    Returns:
        float32 `[batch, heads, query, key]`.
    """

    buckets: int
    farthest: int
    heads: int
    both_sides: bool
    stddev: float

    @nn.compact
    def __call__(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        distance = keys[:, None, :] - queries[:, :, None]
        bucket = relative_bucket(distance, self.buckets, self.farthest, self.both_sides)
        bias = Table(self.buckets, self.heads, self.stddev, name="table")(bucket)
        return jnp.moveaxis(bias, -1, 1)
