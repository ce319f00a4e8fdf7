"""What BERT is fine-tuned with: classification of sequences and of tokens, and question answering.

Each model is the encoder under `encoder`, as in `BertPretraining`, and one new dense layer, so that
pretrained parameters are found by path; a pooler only where it is used. Calls take what `BertEncoder` takes;
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
    """Dropout and one dense layer: `[..., width] -> float32 [..., outputs]`."""

    config: BertConfig
    outputs: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        c = self.config
        x = dropout(x, self.dropout, None if deterministic else self.make_rng("dropout"))
        return Dense((self.outputs,), c.initializer_stddev, c.dtype, name="dense")(x).astype(jnp.float32)


class SequenceClassifier(nn.Module):
    """One of `classes` for each sequence, from the pooled output: logits `[batch, classes]`."""

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
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        return self.classifier(encoding.pooled, deterministic)


class TokenClassifier(nn.Module):
    """One of `classes` for each token: logits `[batch, length, classes]`."""

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
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        return self.classifier(encoding.hidden, deterministic)


class QuestionAnswerer(nn.Module):
    """Where the answer starts and ends (SQuAD): logits `[batch, length]` of the start and of the end."""

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
        encoding = self.encoder(tokens, token_type_ids, segment_ids, positions, deterministic=deterministic)
        logits = self.span(encoding.hidden, deterministic)
        return logits[..., 0], logits[..., 1]
