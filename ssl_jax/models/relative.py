"""Relative positions: biases of the attention logits by buckets of distances (T5, arXiv:1910.10683, section 2.1)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.layers import Table


def relative_bucket(distance: jax.Array, buckets: int, farthest: int, both_sides: bool) -> jax.Array:
    """The bucket of each distance.

    Half of the buckets of a side hold one distance each, from 0 on. The others divide the distances up to `farthest`
    evenly on a logarithmic scale, and the last one also holds all larger distances.

    Args:
      distance: int, the position of the key minus that of the query.
      buckets: number of buckets.
      farthest: this distance and all larger ones are in the last bucket of their side.
      both_sides: whether keys after the query have the second half of the buckets; otherwise they are in the bucket of
        distance 0.

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
    # From a table, because logarithms of different devices may round differently at the border of two buckets.
    return first + jnp.asarray(_one_side(buckets, farthest))[jnp.minimum(distance, farthest)]


def _one_side(buckets: int, farthest: int) -> np.ndarray:
    """The bucket of each distance from 0 to `farthest`."""
    distance, exact = np.arange(farthest + 1), buckets // 2
    share = np.log(np.maximum(distance, exact) / exact) / math.log(farthest / exact)
    # 1e-9, so that a whole number is not rounded to the one below.
    coarse = exact + (share * (buckets - exact) + 1e-9).astype(np.int32)
    return np.where(distance < exact, distance, np.minimum(coarse, buckets - 1)).astype(np.int32)


class RelativePositions(nn.Module):
    """A learned bias for each head and each bucket of distances.

    Attributes:
      buckets: number of buckets.
      farthest: see `relative_bucket`.
      heads: number of heads.
      both_sides: see `relative_bucket`.
      stddev: initialises the biases, as in `Table`.
    """

    buckets: int
    farthest: int
    heads: int
    both_sides: bool
    stddev: float

    @nn.compact
    def __call__(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        """Positions of queries `[batch, query]` and keys `[batch, key]` to float32 `[batch, heads, query, key]`."""
        distance = keys[:, None, :] - queries[:, :, None]
        bucket = relative_bucket(distance, self.buckets, self.farthest, self.both_sides)
        bias = Table(self.buckets, self.heads, self.stddev, name="table")(bucket)
        return jnp.moveaxis(bias, -1, 1)
