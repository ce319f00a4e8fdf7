"""Attention that never stores its logits: the kernels of accelerators (FlashAttention, arXiv:2205.14135).

The kernels are JAX's: Splash attention in Pallas for TPUs, cuDNN's for NVIDIA GPUs. They compute what
`ssl_jax.models.attention.attend` computes without a bias and without dropout. A kernel works on the arrays of one
device, so that it is called under `shard_map`: rows are cut over the batch, heads over `tensor`.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import PartitionSpec

from ssl_jax.ops.recompute import KEPT
from ssl_jax.placement import BATCH_AXES, platform

SCOPE, CAUSAL = "flash_attention", "flash_attention_causal"
"""Scopes of the operations of a kernel without and with a causal mask."""
LANES = 128
"""A TPU's kernel takes sequences in blocks of a multiple of this length."""
BLOCKS = (512, 384, 256, LANES)
"""Lengths of these blocks, the best first."""
CUDNN_HEAD = 128
"""The widest head that cuDNN's kernel takes on all GPUs that it runs on."""


@struct.dataclass
class Segments:
    """A mask by segments: each query may attend to the keys of its own segment.

    Attributes:
      queries: int `[batch, query]`, the segment of each query, 0 for one that attends to nothing; None if every query
        attends to all keys that are not 0.
      keys: int or bool `[batch, key]`, the segment of each key, 0 for padding; None if all queries and keys are of one
        segment.
      causal: whether a query also attends to no key after its own position.
    """

    queries: jax.Array | None = None
    keys: jax.Array | None = None
    causal: bool = struct.field(pytree_node=False, default=False)

    @property
    def present(self) -> jax.Array:
        """bool `[batch, key]`, whether a key is none of padding; for masks with keys."""
        return self.keys.astype(jnp.int32) != 0

    def dense(self, queries: int, keys: int) -> jax.Array | None:
        """The mask as booleans, broadcastable to `[batch, heads, query, key]`; None if all are True.

        Args:
          queries: number of queries.
          keys: number of keys.
        """
        mask = None
        if self.keys is not None:
            mask = self.present[:, None, None]
            if self.queries is not None:
                mask = mask & (self.queries[:, :, None] == self.keys[:, None, :])[:, None]
        if self.causal:
            causal = (jnp.arange(keys)[None] <= jnp.arange(queries)[:, None])[None, None]
            mask = causal if mask is None else mask & causal
        return mask


def kernel_takes(queries: int, keys: int, head_dim: int, dtype: str) -> bool:
    """Whether the devices of the mesh that is set have a kernel for attention of these sizes.

    Args:
      queries: number of queries.
      keys: number of keys.
      head_dim: width of a head.
      dtype: of the computation.
    """
    if platform() == "tpu":
        return queries % LANES == 0 and keys % LANES == 0
    if platform() == "gpu":
        return dtype == "bfloat16" and head_dim <= CUDNN_HEAD and head_dim % 8 == queries % 8 == keys % 8 == 0
    return False


def block_length(length: int) -> int:
    """Length of the blocks in which a TPU's kernel takes a sequence."""
    return next(block for block in BLOCKS if length % block == 0)


def flash_attention(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: Segments, *, interpret: bool = False
) -> jax.Array:
    """Scaled dot-product attention by the kernel of the devices.

    Args:
      queries: `[batch, query, heads, head_dim]`.
      keys: `[batch, key, heads, head_dim]`.
      values: `[batch, key, heads, head_dim]`.
      mask: which keys each query attends to.
      interpret: computes what the kernel for TPUs computes, on any device and slowly.

    Returns:
      `[batch, query, heads, head_dim]`, zeros for queries that attend to nothing.
    """
    kernel = _cudnn if platform() == "gpu" else functools.partial(_splash, interpret=interpret)
    mesh = jax.sharding.get_abstract_mesh()
    if not mesh.empty:
        rows = PartitionSpec(BATCH_AXES)
        heads = PartitionSpec(BATCH_AXES, None, "tensor")
        kernel = jax.shard_map(kernel, in_specs=(heads, heads, heads, rows), out_specs=heads, check_vma=False)
    with jax.named_scope(CAUSAL if mask.causal else SCOPE):
        out = kernel(queries, keys, values, mask)
    # A kernel divides by the sum of the weights, which are alike where all keys are masked.
    if mask.keys is None:
        return out
    attends = mask.present.any(-1, keepdims=True) if mask.queries is None else mask.queries != 0
    return jnp.where(attends[..., None, None], out, 0)


def _splash(
    queries: jax.Array, keys: jax.Array, values: jax.Array, mask: Segments, interpret: bool
) -> jax.Array:
    """By the kernel for TPUs."""
    # Pallas takes a second to import, and programs for CPUs never need it.
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    _, length, heads, head_dim = queries.shape
    shape = (length, keys.shape[1])
    row, column = map(block_length, shape)
    one = masks.CausalMask(shape) if mask.causal else masks.FullMask(shape)
    kernel = kernels.make_splash_mha_single_device(
        masks.MultiHeadMask([one] * heads),
        block_sizes=kernels.BlockSizes(
            block_q=row,
            block_kv=column,
            block_q_dkv=row,
            block_kv_dkv=column,
            use_fused_bwd_kernel=True,
        ),
        residual_checkpoint_name=KEPT,  # without it, a layer that is computed again runs the kernel again
        interpret=interpret,
    )
    segments = None
    if mask.keys is not None:
        of_queries = jnp.ones_like(queries[:, :, 0, 0], jnp.int32) if mask.queries is None else mask.queries
        of_keys = (mask.present if mask.queries is None else mask.keys).astype(jnp.int32)
        segments = kernels.SegmentIds(of_queries.astype(jnp.int32), of_keys)
    by_head = (x.swapaxes(1, 2) for x in (queries * head_dim**-0.5, keys, values))
    in_axes = (0, 0, 0, None if segments is None else 0)
    return jax.vmap(kernel, in_axes)(*by_head, segments).swapaxes(1, 2)


def _cudnn(queries: jax.Array, keys: jax.Array, values: jax.Array, mask: Segments) -> jax.Array:
    """By the kernel for GPUs, which stores the mask of a row for all its heads together."""
    dense = mask.replace(causal=False).dense(queries.shape[1], keys.shape[1])
    if dense is not None:
        dense = jnp.broadcast_to(dense, (queries.shape[0], 1, queries.shape[1], keys.shape[1]))
    return jax.nn.dot_product_attention(
        queries, keys, values, mask=dense, is_causal=mask.causal, implementation="cudnn"
    )
