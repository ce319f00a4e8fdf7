"""BERT (Devlin et al. 2018, arXiv:1810.04805), with the options that make it ALBERT (arXiv:1909.11942)."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.attention import packed_mask
from ssl_jax.models.layers import Dense, LayerNorm, Table
from ssl_jax.models.transformer import Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import ACTIVATIONS, Activation
from ssl_jax.ops.affine import affine
from ssl_jax.ops.dropout import dropout
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """The shape of a BERT; the defaults are BERT-base, uncased."""

    vocab_size: int = 30522
    """Number of word pieces."""
    positions: int = 512
    """The longest sequence, in tokens."""
    segment_types: int = 2
    """Number of segments that a token can belong to."""
    layers: int = 12
    """Number of layers."""
    width: int = 768
    """Of the residual stream."""
    heads: int = 12
    """Of attention; they divide the width."""
    mlp_width: int = 3072
    """Hidden units of the MLP block."""
    embedding_width: int | None = None
    """Of the embeddings, which are then projected to the width (ALBERT); None for the width itself."""
    share_layers: bool = False
    """All layers have the same parameters (ALBERT)."""
    dropout: float = 0.1
    """Rate on the embeddings and on the output of each block."""
    attention_dropout: float = 0.1
    """Rate on the attention weights."""
    activation: Activation = "gelu"
    """gelu (with erf: the paper, Hugging Face), gelu_tanh (google-research/bert as released) or relu."""
    norm_epsilon: float = 1e-12
    """Of the layer normalisations."""
    initializer_stddev: float = 0.02
    """Of the truncated normal that weights are drawn from."""
    pooler: bool = True
    """A dense layer with tanh on the first token's output, which the prediction about the pair needs."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass computes again to save memory: none, dots (all but the dense layers' outputs) or full."""

    @property
    def transformer(self) -> TransformerConfig:
        """The encoder's layers."""
        return TransformerConfig.of(self)


def _size(layers: int, width: int) -> BertConfig:
    return BertConfig(layers=layers, width=width, heads=width // 64, mlp_width=4 * width)


SIZES = {  # base and large: arXiv:1810.04805; the small ones: arXiv:1908.08962
    "tiny": _size(2, 128),
    "mini": _size(4, 256),
    "small": _size(4, 512),
    "base": _size(12, 768),
    "large": _size(24, 1024),
}


class BertEncoding(NamedTuple):
    """Attributes: hidden `[batch, length, width]`; pooled `[batch, width]`, None without a pooler."""

    hidden: jax.Array
    pooled: jax.Array | None


class BertPredictions(NamedTuple):
    """What a pretraining model predicts.

    Attributes:
        token_logits: float32 `[batch, predictions, vocab_size]`.
        pair_logits: float32 `[batch, 2]`, of how the two segments belong together; None without a pooler.
        encoding: what they were predicted from.
    """

    token_logits: jax.Array
    pair_logits: jax.Array | None
    encoding: BertEncoding


class BertEmbeddings(nn.Module):
    """Sum of the token, position and segment embeddings, normalised: `[batch, length, width]`."""

    config: BertConfig

    def setup(self) -> None:
        c = self.config
        width = c.embedding_width or c.width
        self.token = Table(c.vocab_size, width, c.initializer_stddev)
        self.position = Table(c.positions, width, c.initializer_stddev)
        self.segment = Table(c.segment_types, width, c.initializer_stddev)
        self.norm = LayerNorm(c.norm_epsilon, c.dtype)
        if c.embedding_width is not None:
            self.projection = Dense((c.width,), c.initializer_stddev, c.dtype)

    def __call__(
        self, tokens: jax.Array, token_type_ids: jax.Array, positions: jax.Array | None, deterministic: bool
    ) -> jax.Array:
        c, length = self.config, tokens.shape[1]
        if length > c.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {c.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        if positions is None:
            positions = jnp.arange(length)[None]
        x = self.norm(
            along_batch(self.token(tokens)) + self.position(positions) + self.segment(token_type_ids)
        )
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        return x if c.embedding_width is None else self.projection(x)


class BertEncoder(nn.Module):
    """The encoder.

    Args of a call:
        tokens: int `[batch, length]`.
        token_type_ids: int `[batch, length]`, token types.
        segment_ids: int `[batch, length]`, 0 for padding, otherwise the number of the packed document (1
            everywhere for a plain attention mask). A token attends to its own document only.
        positions: int `[batch, length]`, or None for 0, 1, ... (packed documents start again at 0).
        deterministic: no dropout. Otherwise the call needs the "dropout" key.

    Raises:
        UserError: when the sequence is longer than the model's positions.
    """

    config: BertConfig

    def setup(self) -> None:
        c = self.config
        self.embeddings = BertEmbeddings(c)
        self.transformer = Transformer(c.transformer)
        nn.share_scope(self, self.transformer)  # so that parameters are at `layers`, not `transformer/layers`
        if c.pooler:
            self.pooler = Dense((c.width,), c.initializer_stddev, c.dtype)

    def __call__(
        self,
        tokens: jax.Array,
        token_type_ids: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> BertEncoding:
        x = self.embeddings(tokens, token_type_ids, positions, deterministic)
        hidden, _ = self.transformer(x, packed_mask(segment_ids), deterministic=deterministic)
        pooled = jnp.tanh(self.pooler(hidden[:, 0])) if self.config.pooler else None
        return BertEncoding(hidden, pooled)


class MaskedTokenHead(nn.Module):
    """Dense, activation, norm, then the token embeddings once more: `[..., width] -> [..., vocab_size]`."""

    config: BertConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, embedding: jax.Array) -> jax.Array:
        c = self.config
        x = Dense((embedding.shape[1],), c.initializer_stddev, c.dtype, name="dense")(hidden)
        x = LayerNorm(c.norm_epsilon, c.dtype, name="norm")(ACTIVATIONS[c.activation](x))
        bias = self.param("bias", nn.initializers.zeros, embedding.shape[:1], jnp.float32)
        return affine(x, embedding.T, bias).astype(jnp.float32)


class BertPretraining(nn.Module):
    """The encoder with the heads it is pretrained with: masked tokens, and the pair of segments.

    A call takes what `BertEncoder` takes and:
        predict_positions: int `[batch, predictions]`, where in the row the tokens to predict are; None for
            all.
    """

    config: BertConfig

    def setup(self) -> None:
        c = self.config
        self.encoder = BertEncoder(c)
        self.head = MaskedTokenHead(c)
        if c.pooler:
            self.pair = Dense((2,), c.initializer_stddev, c.dtype)

    def __call__(
        self,
        tokens: jax.Array,
        token_type_ids: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array | None = None,
        *,
        predict_positions: jax.Array | None = None,
        deterministic: bool = True,
    ) -> BertPredictions:
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        hidden = encoding.hidden
        if predict_positions is not None:
            hidden = jnp.take_along_axis(hidden, predict_positions[:, :, None], axis=1)
        token_logits = self.head(along_batch(hidden), self.encoder.embeddings.token.embedding)
        pair_logits = self.pair(encoding.pooled).astype(jnp.float32) if self.config.pooler else None
        return BertPredictions(token_logits, pair_logits, encoding)
