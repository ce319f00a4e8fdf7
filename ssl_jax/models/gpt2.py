"""GPT-2 (Radford et al. 2019): a causal pre-norm transformer whose token table is also its output layer."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.attention import Cache, packed_mask
from ssl_jax.models.layers import Table
from ssl_jax.models.transformer import Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import Activation
from ssl_jax.ops.affine import tied_logits
from ssl_jax.ops.dropout import dropout
from ssl_jax.placement import along_batch

_CUT_NORMAL = 0.87962566
"""Standard deviation of a standard normal cut off at twice its own. GPT-2 draws from a whole normal distribution:
divided by this, the cut one of our layers has the standard deviation that is asked for."""


@dataclasses.dataclass(frozen=True)
class Gpt2Config:
    """The shape of a GPT-2; the defaults are the smallest of the paper (124M)."""

    vocab_size: int = 50257
    """Number of tokens."""
    positions: int = 1024
    """The longest sequence, in tokens."""
    layers: int = 12
    """Number of layers."""
    width: int = 768
    """Of the residual stream."""
    heads: int = 12
    """Of attention; they divide the width."""
    mlp_width: int = 3072
    """Hidden units of the MLP block."""
    dropout: float = 0.1
    """Rate on the embeddings and on the output of each block."""
    attention_dropout: float = 0.1
    """Rate on the attention weights."""
    activation: Activation = "gelu_tanh"
    """gelu_tanh (as released), gelu (with erf: nanoGPT) or relu."""
    norm_epsilon: float = 1e-5
    """Of the layer normalisations."""
    initializer_stddev: float = 0.02
    """Standard deviation of token embeddings and kernels at the start. Kernels whose output is added to the residual
    stream have 1/sqrt(2 * layers) of it, as the paper's section 2.3 and nanoGPT do."""
    position_stddev: float = 0.01
    """Standard deviation of position embeddings at the start (0.01 in the released code, 0.02 in nanoGPT)."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass computes again to save memory: none, dots (all but the dense layers' outputs) or full."""

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
            initializer_stddev=stddev,
            residual_stddev=stddev / (2 * self.layers) ** 0.5,
            dtype=self.dtype,
            causal=True,
            remat=self.remat,
        )


def _size(layers: int, width: int, heads: int) -> Gpt2Config:
    return Gpt2Config(layers=layers, width=width, heads=heads, mlp_width=4 * width)


SIZES = {  # 124, 355, 774 and 1558 million parameters (the paper's table 2 counts them differently)
    "small": _size(12, 768, 12),
    "medium": _size(24, 1024, 16),
    "large": _size(36, 1280, 20),
    "xl": _size(48, 1600, 25),
}


class Gpt2Embeddings(nn.Module):
    """Sum of the token and position embeddings: `[batch, length, width]`."""

    config: Gpt2Config

    def setup(self) -> None:
        c = self.config
        self.token = Table(c.vocab_size, c.width, c.initializer_stddev / _CUT_NORMAL)
        self.position = Table(c.positions, c.width, c.position_stddev / _CUT_NORMAL)

    def __call__(self, tokens: jax.Array, positions: jax.Array, deterministic: bool) -> jax.Array:
        x = along_batch(self.token(tokens)) + self.position(positions)
        return dropout(x, self.config.dropout, None if deterministic else self.make_rng("dropout"))


class Gpt2(nn.Module):
    """The model.

    Args of a call:
        tokens: int `[batch, length]`.
        segment_ids: int `[batch, length]`, 0 for padding, otherwise the number of the packed document: a token attends
            to its own document only. None for one document and no padding, and always None with a cache.
        positions: int `[batch, length]`, or None for 0, 1, ..., counted on from the tokens in the cache (packed
            documents start again at 0). A position beyond the table gives NaN.
        cache: what was read before; see `Cache`.
        deterministic: no dropout. Otherwise the call needs the "dropout" key.

    Returns:
        `[batch, length, width]`, which `logits` makes predictions of the next token from, and the cache with this
        call's tokens, None if none was given.

    Raises:
        UserError: when the sequence is longer than the model's positions.
    """

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
        length = tokens.shape[1]
        if length > self.config.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {self.config.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        if positions is None:
            start = 0 if cache is None else cache.length[:, None]
            positions = start + jnp.arange(length)[None]
        x = self.embeddings(tokens, positions, deterministic)
        mask = None if segment_ids is None else packed_mask(segment_ids)
        return self.transformer(x, mask, cache=cache, deterministic=deterministic)

    def logits(self, hidden: jax.Array) -> jax.Array:
        """Predictions of the next token, float32: `[..., width] -> [..., vocab_size]`."""
        return tied_logits(hidden, self.embeddings.token.embedding)
