"""Multi-head attention (arXiv:1706.03762), its masks, and the cache of keys and values for generation.

Masks are boolean, broadcastable to `[batch, heads, query, key]`; True means that the query may attend to the key. The
output of a query that may attend to nothing is zeros, not NaN. A mask that is known by its segments is given as
`Segments`, which the kernels of accelerators take; see `Transformer`.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.layers import Dense
from ssl_jax.models.rotary import Rotation, rotate
from ssl_jax.ops.attention import masked_softmax, weighted_sum
from ssl_jax.ops.flash_attention import Segments, flash_attention
from ssl_jax.ops.recompute import keep


def padding_mask(present: jax.Array) -> jax.Array:
    """The mask `[batch, 1, 1, key]` of `present [batch, key]`, which is nonzero where there is a token."""
    return (present.astype(jnp.int32) != 0)[:, None, None, :]


def packed_mask(segment_ids: jax.Array) -> jax.Array:
    """The mask of documents that are packed into one row: tokens attend to their own document.

    Args:
      segment_ids: int `[batch, length]`, the number of the document that each token belongs to, 0 for padding.

    Returns:
      A mask `[batch, 1, length, length]`, True where both tokens belong to the same document.
    """
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    return (same & (segment_ids != 0)[:, None, :])[:, None]


def causal_mask(queries: int, keys: int, offset: jax.Array | None = None) -> jax.Array:
    """The mask of a causal model: each query attends to the keys up to its own position.

    Args:
      queries: number of queries.
      keys: number of keys.
      offset: int `[batch]` or `[1]`, the position of each row's first query among the keys; None for 0.

    Returns:
      A mask `[batch, 1, queries, keys]`; the batch is 1 without an offset.
    """
    offset = jnp.zeros(1, jnp.int32) if offset is None else offset
    position = offset[:, None] + jnp.arange(queries, dtype=jnp.int32)[None, :]
    return (jnp.arange(keys, dtype=jnp.int32)[None, None, :] <= position[:, :, None])[:, None]


class LayerCache(NamedTuple):
    """Keys and values of one layer.

    Attributes:
      keys: `[batch, heads, capacity, head_dim]`, of the tokens read so far; rotary positions have rotated them.
      values: of the same shape.
      context_keys: `[batch, heads, context, head_dim]`, of the encoder's output; None before the call that is given the
        context.
      context_values: of the same shape, or None.
    """

    keys: jax.Array
    values: jax.Array
    context_keys: jax.Array | None = None
    context_values: jax.Array | None = None


class Cache(NamedTuple):
    """Keys and values of all tokens that a decoder has read: a pytree that each call takes and returns.

    All rows write into the same slots, so that a call updates each layer's arrays in place with one slice. Prompts of
    different lengths are padded on the right and read in one call. Then `forget_padding` hides the slots of the
    padding; later tokens are written into the slots after them.

    Attributes:
      layers: one entry per layer. They are not stacked, because a loop over a stack would copy it at every token.
      length: int `[batch]`, how many tokens each row has, without padding: the position of its next token.
      slot: int, where the next tokens are written.
      present: bool `[batch, capacity]`, which slots hold tokens other than padding.
    """

    layers: tuple[LayerCache, ...]
    length: jax.Array
    slot: jax.Array
    present: jax.Array


def forget_padding(cache: Cache, lengths: jax.Array) -> Cache:
    """Hides padding after the first call, whose rows are `lengths [batch]` tokens followed by padding."""
    capacity = cache.present.shape[1]
    return cache._replace(
        length=lengths, present=jnp.arange(capacity, dtype=jnp.int32)[None] < lengths[:, None]
    )


def _write(memory: jax.Array, new: jax.Array, slot: jax.Array) -> jax.Array:
    """Writes `new [batch, query, heads, head_dim]` into `memory [batch, heads, capacity, head_dim]` at `slot`."""
    return jax.lax.dynamic_update_slice_in_dim(memory, _by_head(new).astype(memory.dtype), slot, axis=2)


def _by_head(x: jax.Array) -> jax.Array:
    """`[batch, length, heads, head_dim]` to the layout of a cache, `[batch, heads, length, head_dim]`, and back."""
    return x.swapaxes(1, 2)


def attend(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    mask: jax.Array | Segments | None,
    rate: float = 0.0,
    key: jax.Array | None = None,
    bias: jax.Array | None = None,
) -> jax.Array:
    """Scaled dot-product attention.

    Args:
      queries: `[batch, query, heads, head_dim]`.
      keys: `[batch, key, heads, head_dim]`.
      values: `[batch, key, heads, head_dim]`.
      mask: see the module's docstring; None for all True. With `Segments` it is computed by the kernel of the devices,
        which has neither dropout nor a bias.
      rate: dropout rate of the attention weights.
      key: random key of dropout; None for no dropout.
      bias: float32, added to the logits and broadcastable to `[batch, heads, query, key]`; None for no bias.

    Returns:
      `[batch, query, heads, head_dim]`.
    """
    if isinstance(mask, Segments):
        return flash_attention(queries, keys, values, mask)
    queries = queries * (queries.shape[-1] ** -0.5)
    logits = jnp.einsum("bqhd,bkhd->bhqk", queries, keys, preferred_element_type=jnp.float32)
    if bias is not None:
        logits = logits + bias
    weights = masked_softmax(logits, mask).astype(values.dtype)
    return keep(weighted_sum(weights, values, rate, key))


class SelfAttention(nn.Module):
    """Multi-head self-attention.

    Attributes:
      heads: number of heads, which divides the width.
      dropout: rate of the attention weights.
      stddev: initialises the kernels of queries, keys and values, as in `Dense`.
      dtype: dtype of the computation.
      deterministic: turns dropout off. Otherwise a call needs the "dropout" key.
      out_stddev: initialises the kernel of the output, as in `Dense`.
      biases: whether the dense layers have biases.
    """

    heads: int
    dropout: float = 0.0
    stddev: float | None = 0.02
    dtype: str = "float32"
    deterministic: bool = True
    out_stddev: float | None = 0.02
    biases: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | Segments | None,
        cache: LayerCache | None = None,
        slot: jax.Array | None = None,
        bias: jax.Array | None = None,
        rotation: Rotation | None = None,
    ) -> tuple[jax.Array, LayerCache | None]:
        """Attends to the input itself, or with a cache to all tokens in it.

        Args:
          x: `[batch, length, width]`.
          mask: see the module's docstring; with a cache, its keys are the `capacity` slots.
          cache: this layer's part of a `Cache`, or None.
          slot: where in the cache the tokens of this call are written.
          bias: see `attend`.
          rotation: of queries and keys, by the positions of the input (rotary positions), or None.

        Returns:
          `[batch, length, width]`, and the cache with the tokens of this call, None if none was given.
        """
        width = x.shape[-1]
        features = (3, self.heads, width // self.heads)
        qkv = Dense(features, self.stddev, self.dtype, bias=self.biases, name="qkv")(x)
        queries, keys, values = (qkv[..., i, :, :] for i in range(3))
        if rotation is not None:
            queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        if cache is not None:
            cache = cache._replace(
                keys=_write(cache.keys, keys, slot), values=_write(cache.values, values, slot)
            )
            keys, values = _by_head(cache.keys), _by_head(cache.values)
        key = None if self.deterministic else self.make_rng("dropout")
        x = attend(queries, keys, values, mask, self.dropout, key, bias)
        out = Dense((width,), self.out_stddev, self.dtype, axes=2, bias=self.biases, name="out")
        return out(x), cache


class CrossAttention(nn.Module):
    """Multi-head attention of one sequence to another one, its context.

    Attributes:
      heads: number of heads, which divides the width.
      dropout: rate of the attention weights.
      stddev: initialises the kernels of queries, keys and values, as in `Dense`.
      dtype: dtype of the computation.
      deterministic: turns dropout off. Otherwise a call needs the "dropout" key.
      out_stddev: initialises the kernel of the output, as in `Dense`.
      biases: whether the dense layers have biases.
    """

    heads: int
    dropout: float = 0.0
    stddev: float | None = 0.02
    dtype: str = "float32"
    deterministic: bool = True
    out_stddev: float | None = 0.02
    biases: bool = True

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        context: jax.Array | None,
        mask: jax.Array | Segments | None,
        cache: LayerCache | None = None,
    ) -> tuple[jax.Array, LayerCache | None]:
        """Attends to the context. A call that is given the context and a cache stores keys and values in the cache.

        Args:
          x: `[batch, length, width]`.
          context: `[batch, keys, context_width]`; None if the cache holds its keys and values.
          mask: see the module's docstring.
          cache: this layer's part of a `Cache`, or None.

        Returns:
          `[batch, length, width]`, and the cache, None if none was given.
        """
        width = x.shape[-1]
        features = (self.heads, width // self.heads)
        queries = Dense(features, self.stddev, self.dtype, bias=self.biases, name="query")(x)
        if context is None:
            keys, values = _by_head(cache.context_keys), _by_head(cache.context_values)
        else:
            both = Dense((2, *features), self.stddev, self.dtype, bias=self.biases, name="key_value")
            key_value = both(context)
            keys, values = key_value[..., 0, :, :], key_value[..., 1, :, :]
            if cache is not None:
                cache = cache._replace(context_keys=_by_head(keys), context_values=_by_head(values))
        key = None if self.deterministic else self.make_rng("dropout")
        x = attend(queries, keys, values, mask, self.dropout, key)
        out = Dense((width,), self.out_stddev, self.dtype, axes=2, bias=self.biases, name="out")
        return out(x), cache
