"""Texts of at most a fixed length by a pointer-generator: drawn in a training step, and as a `Decoder` for commands."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.decoding.decoder import Decoder
from ssl_jax.method import Tree
from ssl_jax.models.attention import Cache
from ssl_jax.models.pointer import PointerGenerator
from ssl_jax.models.transformer import empty_cache
from ssl_jax.ops.reductions import argmin


class Writing(NamedTuple):
    """How texts are written.

    Attributes:
      length: tokens of a text at most, [EOS] included.
      begin: first input of the decoder, [BOS].
      end: token that ends a text, [EOS].
      pad: token after the end.
      first_regular: ids below it are special tokens, of which only [EOS] is ever written.
    """

    length: int
    begin: int
    end: int
    pad: int
    first_regular: int

    def allowed(self, vocab: int, used: jax.Array | int, places: jax.Array) -> jax.Array:
        """Which tokens may be written: words everywhere, and [EOS] everywhere but at the first place.

        Args:
          vocab: size of the model's vocabulary.
          used: int `[batch]` or a number, ids below it are those of the tokenizer.
          places: int `[length]`, counted from 0.

        Returns:
          bool `[batch or 1, length, vocab]`.
        """
        ids = jnp.arange(vocab, dtype=jnp.int32)[None, None]
        words = (ids >= self.first_regular) & (ids < jnp.asarray(used, jnp.int32).reshape(-1, 1, 1))
        return (words & (ids != self.end)) | ((ids == self.end) & (places > 0)[None, :, None])

    def inputs(self, tokens: jax.Array) -> jax.Array:
        """What the decoder reads to predict `tokens [batch, length]`: [BOS] and the tokens before each."""
        first = jnp.full((tokens.shape[0], 1), self.begin, jnp.int32)
        return jnp.concatenate([first, tokens[:, :-1]], axis=1)


class Written(NamedTuple):
    """Texts.

    Attributes:
      tokens: int32 `[batch, length]`; padding after the end.
      present: bool `[batch, length]`, the tokens of a text, its [EOS] included.
    """

    tokens: jax.Array
    present: jax.Array


def word_ids(texts: Written, writing: Writing) -> list[list[int]]:
    """The token ids of each text, without [EOS] and padding; of arrays in NumPy."""
    return [
        [int(token) for token in row[there] if token != writing.end]
        for row, there in zip(np.asarray(texts.tokens), np.asarray(texts.present), strict=True)
    ]


def gumbel_noise(rng: jax.Array, place: jax.Array | int, batch: int, vocab: int) -> jax.Array:
    """Noise `[batch, vocab]` whose sum with log-probabilities is largest at a token drawn by them (Gumbel-max)."""
    return jax.random.gumbel(jax.random.fold_in(rng, place), (batch, vocab), jnp.float32)


def write_texts(
    model: PointerGenerator,
    params: Tree,
    source: jax.Array,
    present: jax.Array,
    used: jax.Array,
    writing: Writing,
    rng: jax.Array | None = None,
) -> tuple[Written, Written | None]:
    """Writes a text for every source, token by token with a cache; without gradient.

    Args:
      model: the pointer-generator.
      params: its parameters.
      source: int `[batch, source]`.
      present: `[batch, source]`, zero for padding.
      used: int `[batch]`, ids below it are those of the tokenizer.
      writing: the form of the texts.
      rng: key of drawn texts; None for greedy texts alone.

    Returns:
      the greedy texts, and the drawn ones; both are written in one loop.
    """
    params = jax.lax.stop_gradient(params)
    batch, vocab = source.shape[0], model.config.vocab_size
    copies = 1 if rng is None else 2

    def twice(x: jax.Array) -> jax.Array:
        return jnp.concatenate([x] * copies)

    def apply(method: str, *arguments: jax.Array | Cache | None) -> jax.Array:
        return model.apply({"params": params}, *arguments, method=method)

    context = apply("encode", source, present)
    source, present, context, used = map(twice, (source, present, context, used))
    cache = empty_cache(model.config.decoder, copies * batch, writing.length + 1)
    first = jnp.full((copies * batch, 1), writing.begin, jnp.int32)
    hidden, cache = apply("decode", first, context, present, cache)

    def step(carry: tuple, place: jax.Array) -> tuple[tuple, tuple[jax.Array, jax.Array]]:
        hidden, cache, ended = carry
        allowed = writing.allowed(vocab, used, place[None])
        scores = apply("log_probabilities", hidden, context, source, present, allowed)[:, 0]
        if rng is not None:
            drawn = scores[batch:] + gumbel_noise(rng, place, batch, vocab)
            scores = jnp.concatenate([scores[:batch], drawn])
        tokens = jnp.where(ended, writing.pad, argmin(-scores))
        hidden, cache = apply("decode", tokens[:, None], None, present, cache)
        return (hidden, cache, ended | (tokens == writing.end)), (tokens, ~ended)

    start = hidden, cache, jnp.zeros(copies * batch, bool)
    _, (tokens, there) = jax.lax.scan(step, start, jnp.arange(writing.length, dtype=jnp.int32))
    both = Written(tokens.T, there.T)
    if rng is None:
        return both, None
    return Written(*(x[:batch] for x in both)), Written(*(x[batch:] for x in both))


class PointerState(NamedTuple):
    """The state of a pointer-generator after the tokens read so far; see `DecodingState`.

    Attributes:
      cache: keys and values of the tokens read.
      source_present: bool `[batch, source]`.
      source: int `[batch, source]`.
      context: `[batch, source, width]`.
    """

    cache: Cache
    source_present: jax.Array
    source: jax.Array
    context: jax.Array


@functools.cache
def pointer_decoder(model: PointerGenerator, writing: Writing, blank: int) -> Decoder:
    """The decoder of a summariser, whose parameters are at `generator`; a text ends after `writing.length` tokens.

    It does not know the tokenizer. Where the model has more ids than that, the unused ones, which are never written,
    take a little of the share of generated words, but not of copied ones.

    Args:
      model: the pointer-generator.
      writing: the form of the texts.
      blank: token that stands for a gap of the source.
    """
    vocab = model.config.vocab_size

    def predict(
        params: Tree, tokens: jax.Array, state: PointerState, new: bool
    ) -> tuple[jax.Array, PointerState]:
        place = state.cache.length[0]  # rows have as many tokens each, [BOS] included
        context = state.context if new else None
        hidden, cache = model.apply(
            {"params": params}, tokens, context, state.source_present, state.cache, method="decode"
        )
        places = place + jnp.arange(tokens.shape[1], dtype=jnp.int32)
        only_end = (jnp.arange(vocab, dtype=jnp.int32) == writing.end)[None, None]
        allowed = writing.allowed(vocab, vocab, places)
        allowed = jnp.where((places >= writing.length - 1)[None, :, None], only_end, allowed)
        scores = model.apply(
            {"params": params},
            hidden,
            state.context,
            state.source,
            state.source_present,
            allowed,
            method="log_probabilities",
        )
        return scores, state._replace(cache=cache)

    def start(
        params: Tree, prompts: jax.Array, lengths: jax.Array, room: int
    ) -> tuple[jax.Array, PointerState]:
        batch, length = prompts.shape
        present = jnp.arange(length, dtype=jnp.int32)[None] < lengths[:, None]
        context = model.apply({"params": params}, prompts, present, method="encode")
        cache = empty_cache(model.config.decoder, batch, 1 + room)
        first = jnp.full((batch, 1), writing.begin, jnp.int32)
        scores, state = predict(params, first, PointerState(cache, present, prompts, context), new=True)
        return scores[:, 0], state

    def extend(params: Tree, tokens: jax.Array, state: PointerState) -> tuple[jax.Array, PointerState]:
        return predict(params, tokens, state, new=False)

    return Decoder(
        lambda params: params.get("generator", params),
        start,
        extend,
        model.config.positions,
        reads_source=True,
        blanks=(blank,),
    )
