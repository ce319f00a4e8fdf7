"""A stack of transformer layers (arXiv:1706.03762): the one encoder and decoder of all models here.

The layers run under `nn.scan`, and their parameters are stacked on axis 0 below `layers`, so that compile time does not
grow with depth. On TPUs the loop is unrolled where the backward pass needs what the layers computed: it would stack all
of it, a layer at a time, and take it from there again. Parameters are float32; `dtype` is the dtype of the computation.
"""

import dataclasses
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import (
    Dtype,
    Fraction,
    Heads,
    Layers,
    Length,
    PositiveFloat,
    Settings,
    Stddev,
    Width,
    integers,
)
from ssl_jax.errors import UserError
from ssl_jax.models.attention import Cache, CrossAttention, LayerCache, SelfAttention, causal_mask
from ssl_jax.models.layers import LayerNorm, Mlp, RmsNorm
from ssl_jax.models.relative import RelativePositions
from ssl_jax.models.rotary import Rotation, rotation
from ssl_jax.ops.activations import Activation
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.flash_attention import Segments, kernel_takes
from ssl_jax.ops.recompute import keep_policy, unrolled
from ssl_jax.placement import along_batch

PositionEncoding = Literal["absolute", "relative", "rotary"]
Remat = Literal["none", "dots", "full"]


@dataclasses.dataclass(frozen=True)
class TransformerConfig(Settings):
    """The shape of a stack of layers."""

    layers: Layers
    """Number of layers."""
    width: Width
    """Width of the residual stream."""
    heads: Heads
    """Number of attention heads; it divides the width."""
    mlp_width: Width
    """Hidden units of the MLP block."""
    dropout: Fraction = 0.1
    """Dropout rate of the output of each block."""
    attention_dropout: Fraction = 0.1
    """Dropout rate of the attention weights."""
    norm: Literal["post", "pre"] = "post"
    """Where layers normalise: post (BERT, BART) after each residual sum; pre (GPT-2, T5) before each block, and after
    the last one."""
    norm_epsilon: PositiveFloat = 1e-12
    """Epsilon of the layer normalisations, added to the variance."""
    activation: Activation = "gelu"
    """Activation of the MLP."""
    gated: bool = False
    """Whether the MLP is gated (arXiv:2002.05202, T5 1.1)."""
    biases: bool = True
    """Whether dense layers and normalisations have biases. Without them the normalisation is `RmsNorm` (T5)."""
    position_encoding: PositionEncoding = "absolute"
    """How self-attention knows positions: absolute, by its input, to which the model has added them (BERT, GPT-2);
    relative, by a learned bias of the logits for each head and each bucket of distances (T5, arXiv:1910.10683); rotary,
    by rotating queries and keys (RoFormer, arXiv:2104.09864)."""
    relative_buckets: Annotated[int, integers(4, 2**16)] = 32
    """Number of buckets of distances between tokens, for relative positions."""
    relative_distance: Length = 128
    """All distances of at least this many tokens share a bucket, for relative positions."""
    initializer_stddev: Stddev | None = 0.02
    """Standard deviation of the truncated normal distribution that initialises kernels; None for 1/sqrt(number of
    inputs) of each kernel (T5)."""
    residual_stddev: Stddev | None = None
    """The same for the kernels whose output is added to the residual stream (GPT-2); None for `initializer_stddev`."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""
    causal: bool = False
    """Whether a token attends only to itself and to the tokens before it."""
    cross_attention: bool = False
    """Whether each layer also attends to a context."""
    share_layers: bool = False
    """Whether all layers have the same parameters (ALBERT, arXiv:1909.11942)."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers and of
    attention) or full (all but the residual stream between layers)."""

    def check_relations(self) -> None:
        if self.width % self.heads:
            raise UserError(
                f"a model of width {self.width} cannot have {self.heads} heads; their number must divide the width."
            )
        if self.position_encoding == "relative" and self.relative_buckets >= 2 * self.relative_distance:
            raise UserError(
                f"relative_buckets {self.relative_buckets} and relative_distance {self.relative_distance}: expected a "
                "distance of more than half of the buckets."
            )
        if self.position_encoding == "rotary" and self.head_dim % 2:
            raise UserError(
                f"position_encoding rotary: rotates pairs of features, but heads of a model of width {self.width} with "
                f"{self.heads} heads have {self.head_dim}; give a number of heads with which that is even."
            )

    @classmethod
    def of(cls, model: Any) -> "TransformerConfig":
        """The layers of a model, from the fields of its configuration (a dataclass) that have the same names."""
        names = {field.name for field in dataclasses.fields(cls)}
        values = {field.name: getattr(model, field.name) for field in dataclasses.fields(model)}
        return cls(**{name: value for name, value in values.items() if name in names})

    @property
    def head_dim(self) -> int:
        """Width of a head."""
        return self.width // self.heads

    @property
    def out_stddev(self) -> float | None:
        """Standard deviation that initialises the kernels whose output is added to the residual stream."""
        return self.initializer_stddev if self.residual_stddev is None else self.residual_stddev

    def normalisation(self, name: str) -> nn.Module:
        """A new normalisation layer of this name."""
        return (LayerNorm if self.biases else RmsNorm)(self.norm_epsilon, self.dtype, name=name)


class Layer(nn.Module):
    """Self-attention, cross-attention if any, and MLP; each with dropout, a residual sum and a normalisation.

    Attributes:
      config: of the stack.
      deterministic: turns dropout off. Otherwise a call needs the "dropout" key.
    """

    config: TransformerConfig
    deterministic: bool

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        cache: LayerCache | None,
        mask: jax.Array | Segments | None,
        slot: jax.Array | None,
        context: jax.Array | None,
        context_mask: jax.Array | Segments | None,
        bias: jax.Array | None = None,
        rotation: Rotation | None = None,
    ) -> tuple[jax.Array, LayerCache | None]:
        """Applies the layer; `nn.scan` calls it with the arguments in this order.

        Args:
          x: `[batch, length, width]`, the residual stream.
          cache: this layer's part of a `Cache`, or None.
          mask: of self-attention, as in `attend`.
          slot: where in the cache the tokens of this call are written.
          context: `[batch, keys, context_width]`, of cross-attention, or None.
          context_mask: of cross-attention.
          bias: of the logits of self-attention, or None.
          rotation: of queries and keys of self-attention, or None.

        Returns:
          `[batch, length, width]`, and this layer's part of the cache.
        """
        c = self.config
        shared = (
            c.heads,
            c.attention_dropout,
            c.initializer_stddev,
            c.dtype,
            self.deterministic,
            c.out_stddev,
            c.biases,
        )

        x = along_batch(x)

        def normalise(x: jax.Array, name: str, place: str) -> jax.Array:
            return c.normalisation(name)(x) if c.norm == place else x

        def residual(x: jax.Array, block: jax.Array, name: str) -> jax.Array:
            key = None if self.deterministic else self.make_rng("dropout")
            return normalise(x + dropout(along_batch(block), c.dropout, key), name, "post")

        block = normalise(x, "attention_norm", "pre")
        block, cache = SelfAttention(*shared, name="attention")(block, mask, cache, slot, bias, rotation)
        x = residual(x, block, "attention_norm")
        if c.cross_attention:
            block = normalise(x, "cross_attention_norm", "pre")
            block, cache = CrossAttention(*shared, name="cross_attention")(
                block, context, context_mask, cache
            )
            x = residual(x, block, "cross_attention_norm")
        block = normalise(x, "mlp_norm", "pre")
        shared = (c.activation, c.initializer_stddev, c.dtype, c.out_stddev, c.biases, c.gated)
        block = Mlp(c.mlp_width, *shared, name="mlp")(block)
        return residual(x, block, "mlp_norm"), cache


class Transformer(nn.Module):
    """The stack of layers, and for pre-norm layers a last normalisation (`final_norm`)."""

    config: TransformerConfig

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array | Segments | None = None,
        *,
        context: jax.Array | None = None,
        context_mask: jax.Array | Segments | None = None,
        cache: Cache | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, Cache | None]:
        """Applies all layers.

        With a cache there is no dropout, and the layers run one after the other instead of under `nn.scan`, which would
        copy each layer's weights and cache at every token. Their parameters are stacked as without a cache, or a tuple
        with one tree per layer.

        Args:
          x: `[batch, length, width]`, embeddings.
          mask: segments, or boolean, broadcastable to `[batch, heads, query, key]`, or None; a causal model adds the
            causal mask itself. With a cache, its keys are the `capacity` slots of the cache.
          context: `[batch, keys, context_width]`, the input of cross-attention.
          context_mask: segments, or boolean, broadcastable to `[batch, heads, query, keys]`, or None.
          cache: see `Cache` and `empty_cache`; None when all tokens are given at once. For causal models only.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.

        Returns:
          `[batch, length, width]`, and the cache with the tokens of this call, None if none was given.
        """
        c = self.config
        if cache is not None:
            x, cache = self._continue(x, mask, context, context_mask, cache)
            return self._last_norm(x), cache
        length = x.shape[1]
        mask = self._prepare(mask, length, length, deterministic, own=True)
        if context is not None:
            context_mask = self._prepare(context_mask, length, context.shape[1], deterministic, own=False)

        layer = Layer
        if c.remat != "none":
            layer = nn.remat(Layer, prevent_cse=False, policy=keep_policy if c.remat == "dots" else None)
        # Deterministic layers are those of evaluation, which has no backward pass.
        stack = nn.scan(
            layer,
            variable_axes={} if c.share_layers else {"params": 0},
            variable_broadcast="params" if c.share_layers else False,
            split_rngs={"params": not c.share_layers, "dropout": True},
            in_axes=(0, *(nn.broadcast,) * 6),
            length=c.layers,
            unroll=1 if deterministic else unrolled(c.layers, c.remat),
        )(c, deterministic, name="layers")
        positions = self._positions(length, jnp.zeros(1, jnp.int32), None)
        x, _ = stack(x.astype(c.dtype), None, mask, None, context, context_mask, *positions)
        return self._last_norm(x), None

    def _prepare(
        self,
        mask: jax.Array | Segments | None,
        queries: int,
        keys: int,
        deterministic: bool,
        *,
        own: bool,
    ) -> jax.Array | Segments | None:
        """The mask as `attend` takes it: segments if a kernel computes this attention, otherwise booleans.

        The booleans are made here, once for all layers. Kernels have neither a bias nor dropout.

        Args:
          mask: see `__call__`.
          queries: number of queries.
          keys: number of keys.
          deterministic: whether there is no dropout.
          own: whether it is the mask of self-attention, which may be causal and have a bias.
        """
        c = self.config
        causal, biased = own and c.causal, own and c.position_encoding == "relative"
        if isinstance(mask, jax.Array):
            return mask & causal_mask(queries, keys) if causal else mask
        segments = Segments(causal=causal) if mask is None else mask.replace(causal=causal)
        plain = biased or (c.attention_dropout > 0 and not deterministic)
        if not plain and kernel_takes(queries, keys, c.head_dim, c.dtype):
            return segments
        return segments.dense(queries, keys)

    def _last_norm(self, x: jax.Array) -> jax.Array:
        c = self.config
        return c.normalisation("final_norm")(x) if c.norm == "pre" else x

    def _positions(
        self, length: int, before: jax.Array, present: jax.Array | None
    ) -> tuple[jax.Array | None, Rotation | None]:
        """`known_positions` of `length` tokens.

        Args:
          length: number of queries.
          before: int `[batch]`, how many tokens of each row precede the queries.
          present: `[batch, key]`, which keys are tokens; None if the keys are the queries.
        """
        queries = before[:, None] + jnp.arange(length, dtype=jnp.int32)[None]
        keys = queries if present is None else present.cumsum(1) - 1  # slots with padding do not count
        return known_positions(self.config, queries, keys, relative_positions(self.config, name="relative"))

    def _continue(
        self,
        x: jax.Array,
        mask: jax.Array | None,
        context: jax.Array | None,
        context_mask: jax.Array | None,
        cache: Cache,
    ) -> tuple[jax.Array, Cache]:
        """Applies the layers to tokens that follow those in the cache."""
        c, queries = self.config, x.shape[1]
        new = jnp.ones((x.shape[0], queries), bool)
        present = jax.lax.dynamic_update_slice_in_dim(cache.present, new, cache.slot, axis=1)
        causal = causal_mask(queries, present.shape[1], cache.slot[None]) & present[:, None, None]
        mask = causal if mask is None else mask & causal
        if isinstance(context_mask, Segments):
            context_mask = context_mask.dense(queries, context_mask.keys.shape[1])

        positions = self._positions(queries, cache.length, present)
        params = unstack(self.get_variable("params", "layers"), c)
        layer, x, parts = Layer(c, deterministic=True, parent=None), x.astype(c.dtype), []
        for own, part in zip(params, cache.layers, strict=True):
            x, part = layer.apply(
                {"params": own}, x, part, mask, cache.slot, context, context_mask, *positions
            )
            parts.append(part)
        return x, Cache(tuple(parts), cache.length + queries, cache.slot + queries, present)


def known_positions(
    config: TransformerConfig,
    queries: jax.Array,
    keys: jax.Array,
    relative: Callable[[jax.Array, jax.Array], jax.Array],
) -> tuple[jax.Array | None, Rotation | None]:
    """What tells self-attention where its tokens are: a bias of the logits, a rotation of queries and keys, or neither.

    Args:
      config: of the stack.
      queries: int `[batch or 1, query]`, their positions. Keys in a cache were rotated when they were written, so that
        a rotation is of the tokens of this call.
      keys: int `[batch or 1, key]`.
      relative: the bias of queries and keys, for relative positions (`relative_positions`).
    """
    if config.position_encoding == "relative":
        return relative(queries, keys), None
    return None, rotation(queries, config.head_dim) if config.position_encoding == "rotary" else None


def relative_positions(config: TransformerConfig, name: str | None = None) -> RelativePositions:
    """The relative positions of all layers; their parameters are at `relative`."""
    c = config
    return RelativePositions(
        c.relative_buckets, c.relative_distance, c.heads, not c.causal, c.width**-0.5, name=name
    )


def unstack(layers: Mapping[str, Any] | tuple, config: TransformerConfig) -> tuple:
    """The parameters at `layers` as a tuple with one tree per layer, the form that is fast in a loop over tokens."""
    if isinstance(layers, tuple):
        return layers
    if config.share_layers:
        return (layers,) * config.layers
    return tuple(jax.tree.map(operator.itemgetter(i), layers) for i in range(config.layers))


def empty_cache(config: TransformerConfig, batch: int, capacity: int) -> Cache:
    """An empty cache for up to `capacity` tokens of each of `batch` rows."""
    shape = (batch, config.heads, capacity, config.head_dim)
    layers = tuple(
        LayerCache(jnp.zeros(shape, config.dtype), jnp.zeros(shape, config.dtype))
        for _ in range(config.layers)
    )
    lengths, present = jnp.zeros(batch, jnp.int32), jnp.zeros((batch, capacity), bool)
    return Cache(layers, lengths, jnp.zeros((), jnp.int32), present)
