"""GPT-2 (Radford et al. 2019): a causal pre-norm transformer whose table of tokens is also its output layer."""

import dataclasses
from typing import Annotated

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
from ssl_jax.models.layers import Table
from ssl_jax.models.transformer import PositionEncoding, Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import Activation
from ssl_jax.ops.affine import OutputLayer
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.flash_attention import Segments
from ssl_jax.placement import along_batch

_CUT_NORMAL = 0.87962566
"""Standard deviation of a standard normal distribution that is truncated at -2 and 2. GPT-2 initialises weights from a
normal distribution that is not truncated. Divided by this number, the standard deviation of our layers is the same."""


@dataclasses.dataclass(frozen=True)
class Gpt2Config(Settings):
    """The shape of a GPT-2. The defaults are the smallest of the paper (124 million parameters)."""

    vocab_size: VocabSize = 50257
    """Number of tokens in the vocabulary."""
    positions: Length = 1024
    """Length of the longest sequence, in tokens."""
    layers: Layers = 12
    """Number of layers."""
    width: Width = 768
    """Width of the residual stream."""
    heads: Heads = 12
    """Number of attention heads; it divides the width."""
    mlp_width: Width = 3072
    """Hidden units of the MLP block."""
    position_encoding: PositionEncoding = "absolute"
    """Positions of tokens: absolute, a learned embedding of each place, added to that of the token (GPT-2); relative,
    learned biases of attention by distance (T5, arXiv:1910.10683); rotary, rotated queries and keys (RoFormer,
    arXiv:2104.09864)."""
    relative_buckets: Annotated[int, integers(4, 2**16)] = 32
    """Number of buckets of distances, for relative positions."""
    relative_distance: Length = 128
    """All distances of at least this many tokens share a bucket, for relative positions."""
    dropout: Fraction = 0.1
    """Dropout rate of the embeddings and of the output of each block."""
    attention_dropout: Fraction = 0.1
    """Dropout rate of the attention weights."""
    activation: Activation = "gelu_tanh"
    """Activation of the MLP: gelu_tanh (as released), gelu (with erf: nanoGPT) or relu."""
    norm_epsilon: PositiveFloat = 1e-5
    """Epsilon of the layer normalisations, added to the variance."""
    initializer_stddev: Stddev = 0.02
    """Standard deviation that initialises token embeddings and kernels. Kernels whose output is added to the residual
    stream have 1/sqrt(2 * layers) of it, as in section 2.3 of the paper and nanoGPT."""
    position_stddev: Stddev = 0.01
    """Standard deviation that initialises position embeddings, of absolute positions (0.01 in the released code, 0.02
    in nanoGPT)."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers and of
    attention) or full."""

    def check_relations(self) -> None:
        self.transformer.check_relations()

    @property
    def transformer(self) -> TransformerConfig:
        """The layers."""
        stddev = self.initializer_stddev / _CUT_NORMAL
        return TransformerConfig(
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            mlp_width=self.mlp_width,
            dropout=self.dropout,
            attention_dropout=self.attention_dropout,
            norm="pre",
            norm_epsilon=self.norm_epsilon,
            activation=self.activation,
            position_encoding=self.position_encoding,
            relative_buckets=self.relative_buckets,
            relative_distance=self.relative_distance,
            initializer_stddev=stddev,
            residual_stddev=stddev / (2 * self.layers) ** 0.5,
            dtype=self.dtype,
            causal=True,
            remat=self.remat,
        )


def _size(layers: int, width: int, heads: int) -> Gpt2Config:
    return Gpt2Config(layers=layers, width=width, heads=heads, mlp_width=4 * width)


SIZES = {  # 124, 355, 774 and 1558 million parameters (table 2 of the paper counts them differently)
    "small": _size(12, 768, 12),
    "medium": _size(24, 1024, 16),
    "large": _size(36, 1280, 20),
    "xl": _size(48, 1600, 25),
}


class Gpt2Embeddings(nn.Module):
    """The sum of token and position embeddings; only absolute positions have a part in it."""

    config: Gpt2Config

    def setup(self) -> None:
        c = self.config
        self.token = Table(c.vocab_size, c.width, c.initializer_stddev / _CUT_NORMAL)
        if c.position_encoding == "absolute":
            self.position = Table(c.positions, c.width, c.position_stddev / _CUT_NORMAL)

    def __call__(self, tokens: jax.Array, positions: jax.Array, deterministic: bool) -> jax.Array:
        """Embeds tokens as `[batch, length, width]`; see `Gpt2`."""
        c, x = self.config, along_batch(self.token(tokens))
        if c.position_encoding == "absolute":
            x = x + self.position(positions)
        return dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))


class Gpt2(nn.Module):
    """The model: embeddings and transformer layers; `logits` is its output layer."""

    config: Gpt2Config

    def setup(self) -> None:
        self.embeddings = Gpt2Embeddings(self.config)
        self.transformer = Transformer(self.config.transformer)
        nn.share_scope(self, self.transformer)  # so that parameters are at `layers`, not `transformer/layers`

    def __call__(
        self,
        tokens: jax.Array,
        segment_ids: jax.Array | None = None,
        positions: jax.Array | None = None,
        *,
        cache: Cache | None = None,
        deterministic: bool = True,
    ) -> tuple[jax.Array, Cache | None]:
        """Computes the hidden states, from which `logits` predicts the next token.

        Args:
          tokens: int `[batch, length]`.
          segment_ids: int `[batch, length]`, 0 for padding, otherwise the number of the packed document; a token
            attends to its own document only. None for one document without padding, and always None with a cache.
          positions: int `[batch, length]`, or None for 0, 1, ..., continued from the tokens in the cache; packed
            documents start again at 0. A position beyond the table gives NaN. For absolute positions only: the
            others, of which only differences matter, are those in the row.
          cache: keys and values of earlier tokens; see `Cache`.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.

        Returns:
          `[batch, length, width]`, and the cache with the tokens of this call, None if none was given.

        Raises:
          UserError: the sequence is longer than `config.positions`.
        """
        length = tokens.shape[1]
        if length > self.config.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {self.config.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        if positions is None:
            start = 0 if cache is None else cache.length[:, None]
            positions = start + jnp.arange(length, dtype=jnp.int32)[None]
        x = self.embeddings(tokens, positions, deterministic)
        mask = None if segment_ids is None else Segments(segment_ids, segment_ids)
        return self.transformer(x, mask, cache=cache, deterministic=deterministic)

    def output(self, hidden: jax.Array) -> OutputLayer:
        """What the logits of the next token are computed from, for `hidden [..., width]`."""
        return OutputLayer(hidden, self.embeddings.token.embedding)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """`hidden [..., width]` to float32 logits `[..., vocab_size]` of the next token."""
        return self.output(hidden).logits()
