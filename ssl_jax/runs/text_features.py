"""The representation of texts by a frozen transformer: BERT, ALBERT, GPT-2, BART, MASS and T5."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.decoding.prompts import bucket_length, pad_right
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.models.bert import BertConfig, BertEncoder
from ssl_jax.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from ssl_jax.models.gpt2 import Gpt2, Gpt2Config
from ssl_jax.runs.encoders import encoder_config
from ssl_jax.training.mapping import MapFunction, batch_of_all_devices, map_examples

Pooling = Literal["mean", "first", "last"]
"""What represents a text: the mean of the states of its tokens, or the state of the first or of the last token."""
ModelConfig = BertConfig | Gpt2Config | EncoderDecoderConfig


class TextEncoder(NamedTuple):
    """A transformer that represents texts.

    Attributes:
      config: of the model.
      params: of the model.
      tokenizer: that it was trained with.
      mesh: of the devices that it is on.
    """

    config: ModelConfig
    params: Tree
    tokenizer: Tokenizer
    mesh: Mesh

    def embed(self, texts: Sequence[str], pooling: Pooling, batch_size: int) -> np.ndarray:
        """The vectors of texts, float32 `[texts, width]`, in their order.

        A text is read as [CLS] text [SEP], by GPT-2 as [BOS] text; what is longer than the model's context is cut off.
        The last layer's states are pooled, those of the special tokens too, but for the [BOS] of GPT-2.

        Args:
          texts: at least one.
          pooling: of the states of a text.
          batch_size: texts that are computed at once.
        """
        special, causal = self.tokenizer.special, isinstance(self.config, Gpt2Config)
        end = [] if causal else [special.sep]
        room = self.config.positions - 1 - len(end)
        encoded = [[special.cls, *ids[:room], *end] for ids in self.tokenizer.encode_batch(list(texts))]
        buckets: dict[int, list[int]] = {}
        for number, ids in enumerate(encoded):
            buckets.setdefault(bucket_length(len(ids), self.config.positions), []).append(number)
        found = np.empty((len(texts), self.config.width), np.float32)
        for length, numbers in sorted(buckets.items()):
            tokens, lengths = pad_right([encoded[number] for number in numbers], length, special.pad)
            found[numbers] = map_examples(
                _states(self.config, pooling),
                {"params": self.params},
                grain.MapDataset.source(_Rows(tokens, lengths)),
                mesh=self.mesh,
                batch_size=batch_of_all_devices(batch_size, self.mesh),
            )
        return found


def text_model(config: Any) -> ModelConfig | None:
    """The transformer in the configuration of a run that reads text, as it is applied; None if there is none."""
    model = encoder_config(config) or getattr(config, "model", None)
    return as_applied(model) if isinstance(model, ModelConfig) else None


def as_applied(model: ModelConfig) -> ModelConfig:
    """The model with the settings of its use: it computes in float32 and keeps nothing for a backward pass."""
    own = {"pooler": False} if isinstance(model, BertConfig) else {}
    return dataclasses.replace(model, dtype="float32", remat="none", **own)


class _Rows:
    """Rows of tokens with their lengths."""

    def __init__(self, tokens: np.ndarray, lengths: np.ndarray):
        self._tokens, self._lengths = tokens, lengths

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        return {"tokens": self._tokens[row], "length": self._lengths[row]}


@functools.lru_cache(maxsize=8)  # one function for all texts, so that it is compiled once for each shape
def _states(config: ModelConfig, pooling: Pooling) -> MapFunction:
    def states(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        tokens, length = batch["tokens"], batch["length"][:, None]
        place = jnp.arange(tokens.shape[1], dtype=jnp.int32)[None]
        present = (place < length).astype(jnp.int32)
        counted = present
        match config:
            case BertConfig():
                variables = {"params": params["encoder"]}
                hidden = BertEncoder(config).apply(variables, tokens, jnp.zeros_like(tokens), present).hidden
            case Gpt2Config():
                hidden, _ = Gpt2(config).apply({"params": params}, tokens, present)
                counted = present * ((place > 0) | (length == 1)).astype(
                    jnp.int32
                )  # [BOS] of an empty text counts
            case EncoderDecoderConfig():
                hidden = EncoderDecoder(config).apply({"params": params}, tokens, present, method="encode")
        hidden = hidden.astype(jnp.float32)
        match pooling:
            case "first":
                return hidden[:, 0]
            case "last":
                return jnp.take_along_axis(hidden, length[..., None] - 1, axis=1)[:, 0]
        weights = counted.astype(jnp.float32)[..., None]
        return (hidden * weights).sum(1) / weights.sum(1)

    return states
