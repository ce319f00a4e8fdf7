"""BERT (Devlin et al. 2018, arXiv:1810.04805), with the options that make it ALBERT (arXiv:1909.11942)."""

import dataclasses
from typing import Annotated, NamedTuple

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
from ssl_jax.models.layers import Dense, LayerNorm, Table
from ssl_jax.models.transformer import PositionEncoding, Remat, Transformer, TransformerConfig
from ssl_jax.ops.activations import ACTIVATIONS, Activation
from ssl_jax.ops.affine import affine
from ssl_jax.ops.dropout import dropout
from ssl_jax.ops.flash_attention import Segments
from ssl_jax.placement import along_batch


@dataclasses.dataclass(frozen=True)
class BertConfig(Settings):
    """The shape of a BERT. The defaults are BERT-base, uncased."""

    vocab_size: VocabSize = 30522
    """Number of tokens in the vocabulary."""
    positions: Length = 512
    """Length of the longest sequence, in tokens."""
    token_types: Annotated[int, integers(1, 1_000)] = 2
    """Number of token types, by which the two segments of a pair differ."""
    layers: Layers = 12
    """Number of layers."""
    width: Width = 768
    """Width of the residual stream."""
    heads: Heads = 12
    """Number of attention heads; it divides the width."""
    mlp_width: Width = 3072
    """Hidden units of the MLP block."""
    embedding_width: Width | None = None
    """Width of the embeddings, which a dense layer maps to `width` (ALBERT); None for `width` without that layer."""
    share_layers: bool = False
    """Whether all layers have the same parameters (ALBERT)."""
    position_encoding: PositionEncoding = "absolute"
    """Positions of tokens: absolute, a learned embedding of each place, added to that of the token (BERT); relative,
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
    activation: Activation = "gelu"
    """Activation of the MLP: gelu (with erf: the paper, Hugging Face), gelu_tanh (google-research/bert as released) or
    relu."""
    norm_epsilon: PositiveFloat = 1e-12
    """Epsilon of the layer normalisations, added to the variance."""
    initializer_stddev: Stddev = 0.02
    """Standard deviation of the truncated normal distribution that initialises weights."""
    pooler: bool = True
    """Whether there is a dense layer on the output of the first token, for the classification of sequences and pairs:
    with tanh, or with rotary positions the activation of the MLP, as in the classifier of Hugging Face's RoFormer."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers and of
    attention) or full."""

    def check_relations(self) -> None:
        self.transformer.check_relations()

    @property
    def transformer(self) -> TransformerConfig:
        """The layers of the encoder."""
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
    """The output of the encoder.

    Attributes:
      hidden: `[batch, length, width]`.
      pooled: `[batch, width]`; None without a pooler.
    """

    hidden: jax.Array
    pooled: jax.Array | None


class BertPredictions(NamedTuple):
    """The predictions of a pretraining model.

    Attributes:
      token_logits: float32 `[batch, predictions, vocab_size]`.
      pair_logits: float32 `[batch, 2]`, of next-sentence prediction or sentence order; None without a pooler.
      encoding: the output of the encoder.
    """

    token_logits: jax.Array
    pair_logits: jax.Array | None
    encoding: BertEncoding


class BertEmbeddings(nn.Module):
    """The normalised sum of token, position and token type embeddings; only absolute positions have a part in it."""

    config: BertConfig

    def setup(self) -> None:
        c = self.config
        width = c.embedding_width or c.width
        self.token = Table(c.vocab_size, width, c.initializer_stddev)
        if c.position_encoding == "absolute":
            self.position = Table(c.positions, width, c.initializer_stddev)
        self.segment = Table(c.token_types, width, c.initializer_stddev)
        self.norm = LayerNorm(c.norm_epsilon, c.dtype)
        if c.embedding_width is not None:
            self.projection = Dense((c.width,), c.initializer_stddev, c.dtype)

    def __call__(
        self, tokens: jax.Array, token_type_ids: jax.Array, positions: jax.Array | None, deterministic: bool
    ) -> jax.Array:
        """Embeds tokens as `[batch, length, width]`; see `BertEncoder`."""
        c, length = self.config, tokens.shape[1]
        if length > c.positions:
            raise UserError(
                f"a sequence of {length} tokens is longer than the model's {c.positions} positions: "
                f"give shorter sequences, or build the model with positions={length} or more"
            )
        x = along_batch(self.token(tokens))
        if c.position_encoding == "absolute":
            if positions is None:
                positions = jnp.arange(length, dtype=jnp.int32)[None]
            x = x + self.position(positions)
        x = self.norm(x + self.segment(token_type_ids))
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        return x if c.embedding_width is None else self.projection(x)


class BertEncoder(nn.Module):
    """The encoder: embeddings, transformer layers and pooler."""

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
        """Encodes tokens.

        Args:
          tokens: int `[batch, length]`.
          token_type_ids: int `[batch, length]`, the segment of a pair that each token belongs to.
          segment_ids: int `[batch, length]`, 0 for padding, otherwise the number of the packed document; 1 everywhere
            for rows of one document. A token attends to its own document only.
          positions: int `[batch, length]`, or None for 0, 1, ...; packed documents start again at 0. For absolute
            positions only: the others, of which only differences matter, are those in the row.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.

        Raises:
          UserError: the sequence is longer than `config.positions`.
        """
        x = self.embeddings(tokens, token_type_ids, positions, deterministic)
        hidden, _ = self.transformer(x, Segments(segment_ids, segment_ids), deterministic=deterministic)
        if not self.config.pooler:
            return BertEncoding(hidden, None)
        rotary = self.config.position_encoding == "rotary"
        activate = ACTIVATIONS[self.config.activation] if rotary else jnp.tanh
        return BertEncoding(hidden, activate(self.pooler(hidden[:, 0])))


class MaskedTokenHead(nn.Module):
    """Dense layer, activation and normalisation, then the table of token embeddings as the output layer."""

    config: BertConfig

    @nn.compact
    def __call__(self, hidden: jax.Array, embedding: jax.Array) -> jax.Array:
        """`hidden [..., width]` to float32 logits `[..., vocab_size]`, by `embedding [vocab_size, embedding_width]`."""
        c = self.config
        x = Dense((embedding.shape[1],), c.initializer_stddev, c.dtype, name="dense")(hidden)
        x = LayerNorm(c.norm_epsilon, c.dtype, name="norm")(ACTIVATIONS[c.activation](x))
        bias = self.param("bias", nn.initializers.zeros, embedding.shape[:1], jnp.float32)
        return affine(x, embedding.T, bias).astype(jnp.float32)


class BertPretraining(nn.Module):
    """The encoder with the heads of pretraining: masked tokens, and the pair of segments."""

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
        """Predicts tokens and the pair.

        Args:
          tokens: as in `BertEncoder`, and so are the other arguments.
          predict_positions: int `[batch, predictions]`, the positions in the row to predict; None for all.
        """
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        hidden = encoding.hidden
        if predict_positions is not None:
            hidden = jnp.take_along_axis(hidden, predict_positions[:, :, None], axis=1)
        token_logits = self.head(along_batch(hidden), self.encoder.embeddings.token.embedding)
        pair_logits = self.pair(encoding.pooled).astype(jnp.float32) if self.config.pooler else None
        return BertPredictions(token_logits, pair_logits, encoding)
