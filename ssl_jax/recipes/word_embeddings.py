"""Embeddings of words in sentences: of every layer of an encoder, of its table, and of word vectors around the word."""

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.ragged import Rows
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.word_rows import IN_CONTEXT, IN_WORD, pieces_of, text_rows, word_rows
from ssl_jax.data.word_senses import Occurrence
from ssl_jax.evals.sense_pairs import mean_of_rows
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.hidden_states import hidden_states
from ssl_jax.runs.pretrained_encoder import PretrainedEncoder
from ssl_jax.training.mapping import MapFunction, batch_of_all_devices, map_examples

_ROWS_AT_ONCE = 32
"""Rows of a batch, at least; it is the next multiple of the number of devices."""


_WORD = re.compile(r"\w+")


class Embeddings(NamedTuple):
    """Vectors of occurrences of words, and what is subtracted to centre them.

    Attributes:
      vectors: float32 `[occurrences, width]`.
      centre: float64 `[width]`, the mean over the tokens of other text.
    """

    vectors: np.ndarray
    centre: np.ndarray


class EncoderEmbeddings(NamedTuple):
    """What an encoder gives for occurrences of words. The embedding of a word is the mean of those of its pieces.

    Attributes:
      static: of the encoder's table of tokens.
      context: the mean of the table over the other tokens of the sentence.
      layers: of the layers, from the input of the first one on.
    """

    static: Embeddings
    context: Embeddings
    layers: list[Embeddings]


def embed_words(
    encoder: PretrainedEncoder, occurrences: Sequence[Occurrence], text: Sequence[str], length: int
) -> EncoderEmbeddings:
    """The embeddings of words in their sentences.

    Args:
      encoder: the model.
      occurrences: words in sentences.
      text: sentences whose mean is subtracted to centre the embeddings.
      length: tokens of a row, at most.

    Raises:
      UserError: as `word_rows`.
    """
    rows = rows_of(occurrences, encoder.tokenizer, length)
    other = text_rows(text, encoder.tokenizer, length)
    words = _compute(_means(encoder.config), encoder, rows)
    means = _compute(_means(encoder.config), encoder, other)
    centre = {name: mean_of_rows(of, other.lengths - 2) for name, of in means.items()}
    layers = words["layers"].shape[1]
    return EncoderEmbeddings(
        Embeddings(words["static"], centre["static"]),
        Embeddings(words["context"], centre["static"]),
        [Embeddings(words["layers"][:, layer], centre["layers"][layer]) for layer in range(layers)],
    )


def rows_of(occurrences: Sequence[Occurrence], tokenizer: Tokenizer, length: int) -> Rows:
    """The rows of words in their sentences; see `word_rows`, which says what is refused."""
    spans = [(each.start, each.end) for each in occurrences]
    return word_rows([each.text for each in occurrences], spans, tokenizer, length)


def embed_all_words(
    encoder: PretrainedEncoder, texts: Sequence[str], length: int
) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """The embeddings of all words of sentences in the last layer.

    Args:
      encoder: the model.
      texts: the sentences; of a long one, the words at its end are left out.
      length: tokens of a row, at most.

    Returns:
      Vectors float32 `[words, width]`, and for each word the number of its sentence and where it starts and ends there.
    """
    encoded = encoder.tokenizer.encode_with_offsets(texts)
    kept = [number for number, found in enumerate(encoded) if len(found.ids)]
    rows = text_rows([texts[number] for number in kept], encoder.tokenizer, length)
    states = _compute(_last_layer(encoder.config), encoder, rows)
    vectors, places = [], []
    for of, number in zip(states, kept, strict=True):
        for start, end in word_spans(texts[number]):
            pieces = pieces_of(encoded[number].offsets, start, end)
            if len(pieces) and pieces[-1] < length - 2:
                vectors.append(of[1 + pieces].mean(0))  # after [CLS]
                places.append((number, start, end))
    return np.stack(vectors), places


def word_spans(text: str) -> list[tuple[int, int]]:
    """Where the words of a text are, in characters: what has letters and is between white space and punctuation."""
    return [found.span() for found in _WORD.finditer(text) if any(map(str.isalpha, found.group()))]


def embed_contexts(
    vectors: np.ndarray,
    tokenizer: Tokenizer,
    window: int,
    occurrences: Sequence[Occurrence],
    text: Sequence[str],
) -> Embeddings:
    """The mean of word vectors around each word, without its own: 0 where no word around is known.

    Args:
      vectors: float32 `[words, width]`, of CBOW.
      tokenizer: of the words.
      window: words on each side, at most.
      occurrences: words in sentences.
      text: sentences whose mean is subtracted to centre the embeddings.
    """
    first = tokenizer.special.first_regular
    encoded = tokenizer.encode_with_offsets([each.text for each in occurrences])
    means = np.zeros((len(occurrences), vectors.shape[1]), np.float32)
    for row, (each, found) in enumerate(zip(occurrences, encoded, strict=True)):
        ids, own = np.asarray(found.ids, np.int64), pieces_of(found.offsets, each.start, each.end)
        if not len(own):
            continue
        around = np.concatenate([ids[max(0, own[0] - window) : own[0]], ids[own[-1] + 1 :][:window]])
        if len(known := around[around >= first]):
            means[row] = vectors[known].mean(0)
    words = np.concatenate([np.asarray(ids, np.int64) for ids in tokenizer.encode_batch(text)])
    words = words[words >= first]
    centre = vectors[words].mean(0, dtype=np.float64) if len(words) else np.zeros(vectors.shape[1])
    return Embeddings(means, centre)


def _compute(function: MapFunction, encoder: PretrainedEncoder, rows: Rows) -> Tree:
    return map_examples(
        function,
        {"params": encoder.params},
        grain.MapDataset.range(len(rows)).map(rows),
        mesh=encoder.mesh,
        batch_size=batch_of_all_devices(_ROWS_AT_ONCE, encoder.mesh),
    )


@functools.lru_cache(
    maxsize=2
)  # one function for a model and for untrained ones, so that it is compiled once
def _means(config: BertConfig) -> MapFunction:
    def means(params: Tree, extras: Extras, batch: Batch) -> dict[str, jax.Array]:
        states = hidden_states(config, params, *_inputs(batch)).astype(jnp.float32)
        static = params["embeddings"]["token"]["embedding"][batch["tokens"]]
        return {
            "layers": jnp.moveaxis(_mean(states, batch["word"] == IN_WORD), 0, 1),
            "static": _mean(static, batch["word"] == IN_WORD),
            "context": _mean(static, batch["word"] == IN_CONTEXT),
        }

    return means


@functools.lru_cache(maxsize=1)
def _last_layer(config: BertConfig) -> MapFunction:
    def last(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return hidden_states(config, params, *_inputs(batch))[-1].astype(jnp.float32)

    return last


def _inputs(batch: Batch) -> tuple[jax.Array, ...]:
    return tuple(batch[name] for name in ("tokens", "token_type_ids", "segment_ids"))


def _mean(values: jax.Array, counted: jax.Array) -> jax.Array:
    """The mean `[..., batch, width]` of `values [..., batch, length, width]` where `counted [batch, length]`."""
    weights = counted.astype(jnp.float32)
    weights = weights / jnp.maximum(weights.sum(1, keepdims=True), 1)
    return jnp.einsum("...blw,bl->...bw", values, weights, precision="highest")
