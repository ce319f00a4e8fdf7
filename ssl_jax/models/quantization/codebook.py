"""Vector quantisation: each vector becomes the nearest one of a codebook (VQ-VAE, arXiv:1711.00937).

A codebook is an array `[codes, width]`; `ssl_jax.models.quantization.state` describes how it is learnt. Vectors and
codes are those of the global batch, as one array, and so are all counts.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from ssl_jax.domains import CodebookSize, Fraction, PositiveFloat, Settings, Width, integers
from ssl_jax.models.quantization.straight_through import check_width
from ssl_jax.ops.reductions import argmin
from ssl_jax.placement import along_batch, batch_parts, whole

DISTANCES = 2**21
"""Distances between vectors and codes that a device computes at a time: 8 MiB, instead of 8 GiB for 262,144 vectors and
8,192 codes. Twice as many do not fit into the caches of a CPU, which then needs twice the time."""


@dataclasses.dataclass(frozen=True)
class CodebookConfig(Settings):
    """A codebook and its updates. The defaults are those of VQ-VAE's released code, except for `kmeans` and
    `restart_below`, which keep all codes in use."""

    codes: CodebookSize = 512
    """Number of vectors in the codebook."""
    width: Width = 64
    """Channels of each vector."""
    decay: Fraction = 0.99
    """EMA decay of the moving averages of each code's vectors. For a codebook that is trained by gradients, of the
    counts of its codes."""
    smoothing: PositiveFloat = 1e-5
    """Laplace smoothing of the moving averages: added to the count of each code before the sum of its vectors is
    divided by the count."""
    kmeans: Annotated[int, integers(0, 10_000)] = 10
    """Rounds of k-means on the first batch, which initialise the codebook; 0 initialises it with random vectors."""
    restart_below: Fraction = 0.03
    """A code is dead if its count is less than this share of the average count. A dead code is replaced by a random
    vector of the batch. 0 never replaces codes."""


def random_vectors(rng: jax.Array, codes: int, width: int) -> jax.Array:
    """float32 `[codes, width]`, uniform between -1 / codes and 1 / codes: initialises a codebook without a batch."""
    return jax.random.uniform(rng, (codes, width), jnp.float32, minval=-1 / codes, maxval=1 / codes)


def nearest(codebook: jax.Array, x: jax.Array) -> jax.Array:
    """The code of the nearest vector of the codebook to each vector of `x`; the first of equally near ones.

    Distances are computed in parts of `DISTANCES`, to bound the memory. The codes have no gradient.

    Args:
      codebook: `[codes, width]`.
      x: `[..., width]`, any float type; computed in float32.

    Returns:
      int32 `[...]`.

    Raises:
      UserError: the widths differ.
    """
    codes, width = codebook.shape
    check_width("a codebook", x, width, "codebook.width")
    codebook = whole(jax.lax.stop_gradient(codebook.astype(jnp.float32)))
    rows = jax.lax.stop_gradient(x.astype(jnp.float32)).reshape(-1, width)
    # |x - e|^2 / 2 without |x|^2 / 2, which is the same for all codes.
    halves = jnp.sum(jnp.square(codebook), axis=-1) / 2

    def choose(rows: jax.Array) -> jax.Array:
        # In full precision: bfloat16 would often choose another code than the nearest.
        products = jnp.matmul(along_batch(rows), codebook.T, precision=jax.lax.Precision.HIGHEST)
        return argmin(halves[None] - products)

    devices = batch_parts()
    parts = -(-rows.shape[0] // (devices * max(1, DISTANCES // codes)))
    # Every device holds the same number of rows of each part: part p takes every `parts`-th row.
    each = devices * -(-rows.shape[0] // (parts * devices))
    padded = jnp.pad(rows, ((0, each * parts - rows.shape[0]), (0, 0)))
    chosen = jax.lax.map(choose, padded.reshape(each, parts, width).swapaxes(0, 1))
    return chosen.swapaxes(0, 1).reshape(-1)[: rows.shape[0]].reshape(x.shape[:-1])


def look_up(codebook: jax.Array, codes: jax.Array) -> jax.Array:
    """The vectors `[..., width]` of `codes [...]`, with a gradient into the codebook."""
    return whole(codebook)[codes]


def count_and_sum(
    x: jax.Array, codes: jax.Array, size: int, weights: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Counts and sums the vectors of each code over the global batch.

    Args:
      x: `[..., width]`.
      codes: int32 `[...]`, below `size`.
      size: number of codes.
      weights: `[...]`, 0 for padding; None for 1 everywhere.

    Returns:
      float32 counts `[size]` and sums `[size, width]`.
    """
    weights = jnp.ones(codes.shape, jnp.float32) if weights is None else weights.astype(jnp.float32)
    counted = weights.reshape(-1)
    rows = x.astype(jnp.float32).reshape(-1, x.shape[-1]) * counted[:, None]
    flat = codes.reshape(-1)
    return (
        jax.ops.segment_sum(counted, flat, num_segments=size),
        jax.ops.segment_sum(rows, flat, num_segments=size),
    )
