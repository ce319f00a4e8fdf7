"""Rotary positions: queries and keys are rotated by angles proportional to their positions (RoFormer, 2104.09864).

The product of a rotated query and a rotated key depends on their distance alone, not on where they are. Features i and
i + head_dim / 2 are a plane of rotation, as in GPT-NeoX and LLaMA ("rotate half"); in the paper (section 3.2.2) these
are the neighbours 2i and 2i + 1. Only the order of the features of a head differs, in which nothing else depends, since
the kernels of queries and keys are learned; halves are contiguous, while neighbours are read with a stride.
All features of a head are rotated, as in the paper.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_BASE = 10_000.0  # of the paper, section 3.2.2


class Rotation(NamedTuple):
    """The rotations of some positions, of all features of a head.

    Attributes:
      cos: float32 `[batch or 1, length, 1, head_dim / 2]`, cosines of the angles.
      sin: of the same shape, their sines.
    """

    cos: jax.Array
    sin: jax.Array


def rotation(positions: jax.Array, head_dim: int) -> Rotation:
    """The rotations of positions.

    Args:
      positions: int `[batch or 1, length]`.
      head_dim: width of a head, an even number.
    """
    half = head_dim // 2
    frequencies = (_BASE ** (-np.arange(half) / half)).astype(np.float32)
    angles = positions[:, :, None, None].astype(jnp.float32) * frequencies[None, None, None]
    return Rotation(jnp.cos(angles), jnp.sin(angles))


def rotate(x: jax.Array, by: Rotation) -> jax.Array:
    """Rotates queries or keys `[batch, length, heads, head_dim]`, in float32; the result has the dtype of `x`."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = first * by.cos - second * by.sin, second * by.cos + first * by.sin
    return jnp.concatenate(rotated, axis=-1).astype(x.dtype)
