"""Encoder-decoders: BART (Lewis et al. 2019, arXiv:1910.13461), mBART and T5.

Encoder and decoder share one table of tokens, which is also the output layer. BART has absolute positions and
normalises the sum of token and position embeddings; mBART (arXiv:2001.08210) differs by `norm="pre"` and
`scale_embeddings=True`. T5 (arXiv:1910.10683) has relative positions and no biases; its version 1.1 also has gated MLPs
and a separate output layer: see `T5_SIZES`.
"""

import dataclasses
import math
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
    VocabSize,
    Width,
    integers,
)
from ssl_jax.errors import UserError
from ssl_jax.models.attention import Cache
from ssl_jax.models.layers import LayerNorm, Table
from ssl_jax.models.transformer import PositionEncoding, Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import Activation
from ssl_jax.ops.affine import OutputLayer
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.flash_attention import Segments
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class EncoderDecoderConfig(Settings):
    """The shape of an encoder-decoder. The defaults are BART-base."""

    vocab_size: VocabSize = 50265
    """Number of tokens in the vocabulary."""
    positions: Length = 1024
    """Length of the longest source and of the longest target, in tokens."""
    layers: Layers = 6
    """Number of layers of the encoder."""
    decoder_layers: Layers = 6
    """Number of layers of the decoder."""
    width: Width = 768
    """Width of the residual streams."""
    heads: Heads = 12
    """Number of attention heads; it divides the width."""
    mlp_width: Width = 3072
    """Hidden units of the MLP blocks."""
    dropout: Fraction = 0.1
    """Dropout rate of the embeddings and of the output of each block."""
    attention_dropout: Fraction = 0.1
    """Dropout rate of the attention weights."""
    norm: Literal["post", "pre"] = "post"
    """Where layers normalise: post (BART) after each residual sum; pre (mBART, T5) before each block, and after the
    last one."""
    norm_epsilon: PositiveFloat = 1e-5
    """Epsilon of the layer normalisations, added to the variance."""
    scale_embeddings: bool = False
    """Whether token embeddings are multiplied by the square root of the width (arXiv:1706.03762, mBART)."""
    activation: Activation = "gelu"
    """Activation of the MLP: gelu (with erf), gelu_tanh or relu."""
    gated: bool = False
    """Whether the MLP blocks are gated (arXiv:2002.05202, T5 1.1)."""
    biases: bool = True
    """Whether dense layers, the output layer and normalisations have biases (T5 has none)."""
    position_encoding: PositionEncoding = "absolute"
    """Positions of tokens: absolute, a learned embedding of each place, added to that of the token, and the sum is
    normalised (BART); relative, learned biases of self-attention by distance (T5, arXiv:1910.10683); rotary, rotated
    queries and keys of self-attention (RoFormer, arXiv:2104.09864)."""
    relative_buckets: Annotated[int, integers(4, 2**16)] = 32
    """Number of buckets of distances, for relative positions."""
    relative_distance: Length = 128
    """All distances of at least this many tokens share a bucket, for relative positions."""
    tied_head: bool = True
    """Whether the output layer is the table of tokens (BART, T5) instead of a separate table (T5 1.1)."""
    initializer_stddev: Stddev | None = 0.02
    """Standard deviation of the truncated normal distribution that initialises weights; None for 1/sqrt(number of
    inputs) of each weight matrix (T5)."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers and of
    attention) or full."""

    def check_relations(self) -> None:
        self.encoder.check_relations()

    @property
    def encoder(self) -> TransformerConfig:
        """The layers of the encoder."""
        return TransformerConfig.of(self)

    @property
    def decoder(self) -> TransformerConfig:
        """The layers of the decoder."""
        return dataclasses.replace(
            self.encoder, layers=self.decoder_layers, causal=True, cross_attention=True
        )


def _size(layers: int, width: int) -> EncoderDecoderConfig:
    return EncoderDecoderConfig(
        layers=layers, decoder_layers=layers, width=width, heads=width // 64, mlp_width=4 * width
    )


SIZES = {  # base and large: arXiv:1910.13461, with half of the layers on either side; the others are not in the paper
    "tiny": _size(2, 128),
    "mini": _size(3, 256),
    "small": _size(4, 512),
    "base": _size(6, 768),
    "large": _size(12, 1024),
}


def _t5(layers: int, width: int, mlp_width: int, **version: Any) -> EncoderDecoderConfig:
    return dataclasses.replace(
        _size(layers, width),
        vocab_size=32128,
        positions=512,
        mlp_width=mlp_width,
        norm="pre",
        norm_epsilon=1e-6,
        biases=False,
        position_encoding="relative",
        scale_embeddings=True,
        initializer_stddev=None,
        **version,
    )


_T5_1_1 = {"activation": "gelu_tanh", "gated": True, "tied_head": False}
T5_SIZES = {  # arXiv:1910.10683, section 2.3 and 3.7; 1.1 as in its released configurations
    "small": _t5(6, 512, 2048, activation="relu"),
    "base": _t5(12, 768, 3072, activation="relu"),
    "large": _t5(24, 1024, 4096, activation="relu"),
    "base-1.1": _t5(12, 768, 2048, **_T5_1_1),
    "large-1.1": _t5(24, 1024, 2816, **_T5_1_1),
}
"""T5 scales the input of the output layer by 1/sqrt(width) instead of the embeddings, and its attention logits are not
scaled. Here the weights contain these factors: the functions and their distribution at initialisation are the same.
Dropout is in the same places as in our other models; T5 has it also within the MLP and after the last normalisation."""


class _Side(nn.Module):
    """The encoder or the decoder without its table of tokens: positions, normalisation and layers."""

    config: EncoderDecoderConfig
    layers: TransformerConfig

    def setup(self) -> None:
        c = self.config
        if c.position_encoding == "absolute":
            self.position = Table(c.positions, c.width, c.initializer_stddev)
            self.embedding_norm = LayerNorm(c.norm_epsilon, c.dtype)
        self.transformer = Transformer(self.layers)
        nn.share_scope(self, self.transformer)  # so that parameters are at `layers`, not `transformer/layers`

    def __call__(
        self,
        embedded: jax.Array,
        positions: jax.Array | None,
        mask: Segments | None,
        *,
        context: jax.Array | None = None,
        context_mask: Segments | None = None,
        cache: Cache | None = None,
        deterministic: bool,
    ) -> tuple[jax.Array, Cache | None]:
        """`embedded [batch, length, width]` to the same shape, and the cache; see `EncoderDecoder.decode`."""
        c, length = self.config, embedded.shape[1]
        if length > c.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {c.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        x = embedded
        if c.position_encoding == "absolute":
            if positions is None:
                start = jnp.zeros(1, jnp.int32) if cache is None else cache.length
                positions = start[:, None] + jnp.arange(length, dtype=jnp.int32)[None]
            x = self.embedding_norm(x + self.position(positions))
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        return self.transformer(
            x, mask, context=context, context_mask=context_mask, cache=cache, deterministic=deterministic
        )


class EncoderDecoder(nn.Module):
    """The model. A call predicts a whole target; `encode`, `decode` and `logits` are its parts."""

    config: EncoderDecoderConfig

    def setup(self) -> None:
        c = self.config
        self.token = Table(c.vocab_size, c.width, c.initializer_stddev)
        self.encoder = _Side(c, c.encoder)
        self.decoder = _Side(c, c.decoder)
        if not c.tied_head:
            self.head = Table(c.vocab_size, c.width, c.initializer_stddev)
        if c.biases:
            self.bias = self.param("bias", nn.initializers.zeros, (c.vocab_size,), jnp.float32)

    def __call__(
        self,
        source: jax.Array,
        source_present: jax.Array,
        target_inputs: jax.Array,
        target_positions: jax.Array | None = None,
        *,
        context_present: jax.Array | None = None,
        deterministic: bool = True,
    ) -> jax.Array:
        """float32 logits `[batch, target, vocab_size]` of each token of a target; see `predict`."""
        return self.predict(
            source,
            source_present,
            target_inputs,
            target_positions,
            context_present=context_present,
            deterministic=deterministic,
        ).logits()

    def predict(
        self,
        source: jax.Array,
        source_present: jax.Array,
        target_inputs: jax.Array,
        target_positions: jax.Array | None = None,
        *,
        context_present: jax.Array | None = None,
        deterministic: bool = True,
    ) -> OutputLayer:
        """Predicts each token of a target from the source and the tokens before it.

        Args:
          source: int `[batch, source]`.
          source_present: `[batch, source]`, zero for padding.
          target_inputs: int `[batch, target]`, the input of the decoder: at each position the token before the one to
            predict. Padding is on the right, where no other position attends to it.
          target_positions: int `[batch, target]`, or None for 0, 1, ...; for absolute positions only.
          context_present: `[batch, source]`, zero where the decoder does not attend to (the masked tokens of MASS,
            arXiv:1905.02450); None for `source_present`.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.

        Returns:
          What the logits `[batch, target, vocab_size]` are computed from.

        Raises:
          UserError: source or target is longer than `config.positions`.
        """
        context = self.encode(source, source_present, deterministic=deterministic)
        context_present = source_present if context_present is None else context_present
        hidden, _ = self.decode(
            target_inputs, context, context_present, target_positions, deterministic=deterministic
        )
        return self.output(hidden)

    def encode(
        self,
        tokens: jax.Array,
        present: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """The encoder.

        Args:
          tokens: int `[batch, source]`, or float `[batch, source, vocab_size]`, a share of every token at each place,
            whose embeddings are averaged.
          present: `[batch, source]`, zero for padding.
          positions: int `[batch, source]`, or None for 0, 1, ...; for absolute positions only.
          deterministic: turns dropout off.

        Returns:
          The context `[batch, source, width]`.
        """
        x, _ = self.encoder(
            self._embed(tokens), positions, Segments(keys=present), deterministic=deterministic
        )
        return x

    def decode(
        self,
        tokens: jax.Array,
        context: jax.Array | None,
        context_present: jax.Array,
        positions: jax.Array | None = None,
        *,
        cache: Cache | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, Cache | None]:
        """The decoder.

        Args:
          tokens: int `[batch, target]`; with a cache, the tokens that follow those in it.
          context: `[batch, source, width]` from `encode`; None if the cache holds its keys and values.
          context_present: `[batch, source]`, zero where the decoder does not attend to.
          positions: int `[batch, target]`, or None to count from the length of the cache, or from 0; for
            absolute positions only.
          cache: `empty_cache(config.decoder, batch, capacity)`, or the cache that an earlier call returned, or None.
          deterministic: turns dropout off.

        Returns:
          Hidden states `[batch, target, width]`, and the cache with these tokens, None if none was given.
        """
        return self.decoder(
            self._embed(tokens),
            positions,
            None,
            context=context,
            context_mask=Segments(keys=context_present),
            cache=cache,
            deterministic=deterministic,
        )

    def output(self, hidden: jax.Array) -> OutputLayer:
        """What the logits of the token at each position are computed from, for `hidden [..., width]`."""
        c = self.config
        table = (self.token if c.tied_head else self.head).embedding
        return OutputLayer(along_batch(hidden), table, self.bias if c.biases else None)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """`hidden [..., width]` to float32 logits `[..., vocab_size]` of the token at each position."""
        return self.output(hidden).logits()

    def _embed(self, tokens: jax.Array) -> jax.Array:
        scale = math.sqrt(self.config.width) if self.config.scale_embeddings else 1.0
        shares = jnp.issubdtype(tokens.dtype, jnp.floating)
        embedded = self.token.average(tokens) if shares else self.token(tokens)
        return along_batch(embedded) * scale
