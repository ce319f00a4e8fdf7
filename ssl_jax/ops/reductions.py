"""Argmin, argmax and cumulative sums."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.ops.operation import Operation

BLOCK = 32
"""Numbers that `cumsum` adds up in one product."""


@Operation
def argmin(x: jax.Array) -> jax.Array:
    """int32 `[...]`, the index of the smallest number of each row of `x [..., n]`, the first of equal ones.

    A row with NaN has any index below n.
    """
    return jnp.argmin(x, axis=-1).astype(jnp.int32)


@argmin.fast_form
def _fast_argmin(x: jax.Array) -> jax.Array:
    # By comparisons, because XLA does not vectorise argmin on CPUs. NaN equals nothing and gets the last index.
    least = x.min(-1, keepdims=True)
    index = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1)
    return jnp.min(jnp.where(x == least, index, x.shape[-1] - 1), axis=-1)


@Operation
def is_argmax(x: jax.Array, index: jax.Array) -> jax.Array:
    """bool `[...]`: whether `index [...]` is that of the largest number of `x [..., n]`, the first of equal ones."""
    return jnp.argmax(x, axis=-1) == index


@is_argmax.fast_form
def _fast_is_argmax(x: jax.Array, index: jax.Array) -> jax.Array:
    # By comparisons, because XLA does not vectorise argmax on CPUs, where it took a twelfth of BERT-mini's step.
    own = jnp.take_along_axis(x, index[..., None], axis=-1)
    earlier = jax.lax.broadcasted_iota(jnp.int32, x.shape, x.ndim - 1) < index[..., None]
    return jnp.where(earlier, x < own, x <= own).all(-1)


@Operation
def cumsum(x: jax.Array) -> jax.Array:
    """int32 `[n]`, cumulative sums of booleans or integers `x [n]`; no sum of neighbours may reach 2^24 in size."""
    return jnp.cumsum(x, dtype=jnp.int32)


@cumsum.fast_form
def _fast_cumsum(x: jax.Array) -> jax.Array:
    # In blocks, by products with triangles of ones: on a CPU a fifth of the time of `jnp.cumsum`. float32 is exact for
    # integers up to 2^24.
    (length,) = x.shape
    blocks = -(-length // BLOCK)
    x = jnp.pad(x.astype(jnp.float32), (0, blocks * BLOCK - length)).reshape(blocks, BLOCK)
    within = jnp.matmul(x, np.triu(np.ones((BLOCK, BLOCK), np.float32)), precision="highest")
    before = jnp.matmul(
        np.tril(np.ones((blocks, blocks), np.float32), -1), within[:, -1], precision="highest"
    )
    return (within + before[:, None]).reshape(-1)[:length].astype(jnp.int32)
