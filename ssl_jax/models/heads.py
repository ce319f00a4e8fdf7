"""BERT with the heads of fine-tuning: classification of sequences and of tokens, and question answering.

Each model has the encoder under `encoder`, as in `BertPretraining`, so that pretrained parameters are found by their
path, and one new dense layer. It has a pooler only if the head uses it. Calls take the arguments of `BertEncoder`;
logits are float32.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.models.layers import Dense
from ssl_jax.ops.dropout import dropout


class _Head(nn.Module):
    """Dropout and one dense layer."""

    config: BertConfig
    outputs: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """`x [..., width]` to float32 `[..., outputs]`."""
        c = self.config
        x = dropout(x, self.dropout, None if deterministic else self.make_rng("dropout"))
        return Dense((self.outputs,), c.initializer_stddev, c.dtype, name="dense")(x).astype(jnp.float32)


class SequenceClassifier(nn.Module):
    """Classification of sequences by the pooled output.

    Attributes:
      config: of the encoder; `pooler` is turned on.
      classes: number of classes.
      dropout: rate of the input of the head.
    """

    config: BertConfig
    classes: int
    dropout: float = 0.1

    def setup(self) -> None:
        self.encoder = BertEncoder(dataclasses.replace(self.config, pooler=True))
        self.classifier = _Head(self.config, self.classes, self.dropout)

    def __call__(
        self,
        tokens: jax.Array,
        token_type_ids: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """Logits `[batch, classes]`."""
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        return self.classifier(encoding.pooled, deterministic)


class TokenClassifier(nn.Module):
    """Classification of tokens.

    Attributes:
      config: of the encoder; `pooler` is turned off.
      classes: number of classes.
      dropout: rate of the input of the head.
    """

    config: BertConfig
    classes: int
    dropout: float = 0.1

    def setup(self) -> None:
        self.encoder = BertEncoder(dataclasses.replace(self.config, pooler=False))
        self.classifier = _Head(self.config, self.classes, self.dropout)

    def __call__(
        self,
        tokens: jax.Array,
        token_type_ids: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> jax.Array:
        """Logits `[batch, length, classes]`."""
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        return self.classifier(encoding.hidden, deterministic)


class QuestionAnswerer(nn.Module):
    """Extractive question answering (SQuAD): where in the sequence the answer starts and ends."""

    config: BertConfig

    def setup(self) -> None:
        self.encoder = BertEncoder(dataclasses.replace(self.config, pooler=False))
        self.span = _Head(self.config, 2, 0.0)

    def __call__(
        self,
        tokens: jax.Array,
        token_type_ids: jax.Array,
        segment_ids: jax.Array,
        positions: jax.Array | None = None,
        *,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array]:
        """Logits `[batch, length]` of the start, and of the end."""
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        logits = self.span(encoding.hidden, deterministic)
        return logits[..., 0], logits[..., 1]
