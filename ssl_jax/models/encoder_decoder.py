"""An encoder and a decoder that reads it: BART (Lewis et al. 2019, arXiv:1910.13461), mBART, T5.

Both share one table of tokens, which is the decoder's head as well. BART has learned positions and normalises their sum
with the tokens; mBART (arXiv:2001.08210) differs by `norm="pre"` and `scale_embeddings=True`. T5 (arXiv:1910.10683) has
relative positions instead, no biases, and in version 1.1 gated blocks and a head of its own: see `T5_SIZES`.
"""

import dataclasses
import math
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.attention import Cache, padding_mask
from ssl_jax.models.layers import LayerNorm, Table
from ssl_jax.models.transformer import Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import Activation
from ssl_jax.ops.affine import tied_logits
from ssl_jax.ops.dropout import dropout
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class EncoderDecoderConfig:
    """The shape of an encoder-decoder; the defaults are BART-base."""

    vocab_size: int = 50265
    """Number of tokens."""
    positions: int = 1024
    """The longest source and the longest target, in tokens."""
    layers: int = 6
    """Of the encoder."""
    decoder_layers: int = 6
    """Of the decoder."""
    width: int = 768
    """Of the residual streams."""
    heads: int = 12
    """Of attention; they divide the width."""
    mlp_width: int = 3072
    """Hidden units of the MLP blocks."""
    dropout: float = 0.1
    """Rate on the embeddings and on the output of each block."""
    attention_dropout: float = 0.1
    """Rate on the attention weights."""
    norm: Literal["post", "pre"] = "post"
    """post (BART) normalises after each residual sum; pre (mBART) before each block, and after the last."""
    norm_epsilon: float = 1e-5
    """Of the layer normalisations."""
    scale_embeddings: bool = False
    """Token embeddings are multiplied by the square root of the width (arXiv:1706.03762, mBART)."""
    activation: Activation = "gelu"
    """gelu (with erf), gelu_tanh or relu."""
    gated: bool = False
    """The MLP blocks are gated (arXiv:2002.05202, T5 1.1)."""
    biases: bool = True
    """Of dense layers, head and normalisations, which without them only rescale (T5)."""
    relative_buckets: int = 0
    """Of distances, for relative positions (T5); 0 for learned positions, normalised with the tokens (BART)."""
    relative_distance: int = 128
    """Tokens that far apart and farther share a bucket."""
    tied_head: bool = True
    """The head is the table of tokens (BART, T5); otherwise it has weights of its own (T5 1.1)."""
    initializer_stddev: float | None = 0.02
    """Of the truncated normal that weights are drawn from; None for 1/sqrt(inputs) of each (T5)."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass computes again to save memory: none, dots (all but the dense layers' outputs) or full."""

    @property
    def encoder(self) -> TransformerConfig:
        """The encoder's layers."""
        return TransformerConfig.of(self)

    @property
    def decoder(self) -> TransformerConfig:
        """The decoder's layers."""
        return dataclasses.replace(
            self.encoder, layers=self.decoder_layers, causal=True, cross_attention=True
        )


def _size(layers: int, width: int) -> EncoderDecoderConfig:
    return EncoderDecoderConfig(
        layers=layers, decoder_layers=layers, width=width, heads=width // 64, mlp_width=4 * width
    )


SIZES = {  # base and large: arXiv:1910.13461, with half of the layers on either side; the small ones are ours
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
        relative_buckets=32,
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
"""T5 scales the head by 1/sqrt(width) and not the embeddings, and draws queries for logits that are not scaled. Here
the weights hold these factors: the same functions, and the same distribution of them at the start. Dropout is where our
other models have it, not also within the MLP and after the last normalisation as in T5."""


class _Side(nn.Module):
    """Positions added to token embeddings, normalisation, layers: `[batch, length, width]` to the same shape."""

    config: EncoderDecoderConfig
    layers: TransformerConfig

    def setup(self) -> None:
        c = self.config
        if not c.relative_buckets:
            self.position = Table(c.positions, c.width, c.initializer_stddev)
            self.embedding_norm = LayerNorm(c.norm_epsilon, c.dtype)
        self.transformer = Transformer(self.layers)
        nn.share_scope(self, self.transformer)  # so that parameters are at `layers`, not `transformer/layers`

    def __call__(
        self,
        embedded: jax.Array,
        positions: jax.Array | None,
        mask: jax.Array | None,
        *,
        context: jax.Array | None = None,
        context_mask: jax.Array | None = None,
        cache: Cache | None = None,
        deterministic: bool,
    ) -> tuple[jax.Array, Cache | None]:
        c, length = self.config, embedded.shape[1]
        if length > c.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {c.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        x = embedded
        if not c.relative_buckets:
            if positions is None:
                start = jnp.zeros(1, jnp.int32) if cache is None else cache.length
                positions = start[:, None] + jnp.arange(length)[None]
            x = self.embedding_norm(x + self.position(positions))
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        return self.transformer(
            x, mask, context=context, context_mask=context_mask, cache=cache, deterministic=deterministic
        )


class EncoderDecoder(nn.Module):
    """The model: a call gives the decoder the whole target; `encode`, `decode` and `logits` are its parts.

    Args of a call:
        source: int `[batch, source]`.
        source_present: `[batch, source]`, zero for padding.
        target_inputs: int `[batch, target]`, what the decoder reads: at each position the token before the
            one to predict. Padding stands on the right, where no other position looks.
        target_positions: int `[batch, target]`, or None for 0, 1, ...; of learned positions only.
        context_present: `[batch, source]`, zero where the decoder does not look (MASS, arXiv:1905.02450: masked
            tokens); None for `source_present`.
        deterministic: no dropout. Otherwise the call needs the "dropout" key.

    Returns:
        logits, float32 `[batch, target, vocab_size]`.

    Raises:
        UserError: when source or target is longer than the model's positions.
    """

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
        context = self.encode(source, source_present, deterministic=deterministic)
        context_present = source_present if context_present is None else context_present
        hidden, _ = self.decode(
            target_inputs, context, context_present, target_positions, deterministic=deterministic
        )
        return self.logits(hidden)

    def encode(
        self,
        tokens: jax.Array,
        present: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """The encoder: tokens and present `[batch, source]` -> context `[batch, source, width]`."""
        x, _ = self.encoder(
            self._embed(tokens), positions, padding_mask(present), deterministic=deterministic
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
            tokens: int `[batch, target]`; with a cache, those that follow the ones it holds.
            context: `[batch, source, width]` from `encode`; None when the cache holds it already.
            context_present: `[batch, source]`, zero where the decoder does not look.
            positions: int `[batch, target]`, or None to count on from the cache's length, or from 0; of learned
                positions only.
            cache: `empty_cache(config.decoder, batch, capacity)` and what earlier calls made of it, or None.
            deterministic: no dropout.

        Returns:
            hidden `[batch, target, width]`, and the cache with these tokens, None if none was given.
        """
        return self.decoder(
            self._embed(tokens),
            positions,
            None,
            context=context,
            context_mask=padding_mask(context_present),
            cache=cache,
            deterministic=deterministic,
        )

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Predictions of the token at each position: `[..., width] -> float32 [..., vocab_size]`."""
        c = self.config
        table = (self.token if c.tied_head else self.head).embedding
        return tied_logits(along_batch(hidden), table, self.bias if c.biases else None)

    def _embed(self, tokens: jax.Array) -> jax.Array:
        scale = math.sqrt(self.config.width) if self.config.scale_embeddings else 1.0
        return along_batch(self.token(tokens)) * scale
