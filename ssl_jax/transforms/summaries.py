"""Warm-up tasks for learning to summarise without pairs: pure functions of (key, rows of tokens), on the device.

Neither task has an article with its summary, and neither teaches to copy the beginning of an article. A row of an
article is [BOS], its tokens, [EOS] and padding; one of a sentence is its tokens, [EOS] and padding.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_LAST = 1e9
_MOVED = 3.0
"""How far words of a sentence move at most, in places."""
_DISTRACTORS = 2
"""Words of another text for each place of a sentence."""


class Rows(NamedTuple):
    """Rows of tokens.

    Attributes:
      tokens: int32 `[batch, length]`.
      present: bool `[batch, length]`, False for padding, which comes last.
    """

    tokens: jax.Array
    present: jax.Array


def random_extract(
    rng: jax.Array, article: Rows, length: int, *, begin_id: int, end_id: int, pad_id: int
) -> Rows:
    """Random words of each article in their order, then [EOS]: what a reconstructor is trained on before codes exist.

    Args:
      rng: a key.
      article: rows of articles.
      length: of the result, [EOS] included.
      begin_id, end_id, pad_id: of [BOS], [EOS] and padding.
    """
    inside = _words(article, begin_id, end_id)
    chance = jnp.where(inside, jax.random.uniform(rng, inside.shape, jnp.float32), 2.0)
    rank = jnp.argsort(jnp.argsort(chance, axis=1), axis=1)
    chosen = inside & (rank < length - 1)
    return _ended(_packed(article.tokens, chosen, length, pad_id), end_id)


def noisy_sentence(
    rng: jax.Array, sentence: Rows, article: Rows, length: int, *, begin_id: int, end_id: int, pad_id: int
) -> Rows:
    """Each sentence as a source to denoise: its words are moved a little, and mixed with words of an unrelated text.

    The task to find the sentence in it is that of arXiv:1809.02669 (Fevry & Phang 2018), which learns to shorten
    sentences by it.

    Args:
      rng: a key.
      sentence: rows of sentences.
      article: rows of articles that do not belong to them, of which random words are mixed in.
      length: of the result, [BOS] and [EOS] included.
      begin_id, end_id, pad_id: of [BOS], [EOS] and padding.
    """
    chosen_rng, place_rng, moved_rng = jax.random.split(rng, 3)
    places = sentence.tokens.shape[1]
    room = min(_DISTRACTORS * places, length - 2 - places)
    words = _words(sentence, begin_id, end_id)
    others = random_extract(chosen_rng, article, room + 1, begin_id=begin_id, end_id=end_id, pad_id=pad_id)
    other_words = _words(others, begin_id, end_id)
    count = words.sum(-1, keepdims=True, dtype=jnp.int32)
    moved = _MOVED * jax.random.uniform(moved_rng, words.shape, jnp.float32)
    spread = jax.random.uniform(place_rng, other_words.shape, jnp.float32) * (jnp.float32(count) + _MOVED)
    keys = jnp.concatenate([jnp.arange(places, dtype=jnp.float32)[None] + moved, spread], axis=1)
    both = jnp.concatenate([sentence.tokens, others.tokens], axis=1)
    present = jnp.concatenate([words, other_words], axis=1)
    order = jnp.argsort(jnp.where(present, keys, _LAST), axis=1)
    mixed = _packed(
        jnp.take_along_axis(both, order, axis=1),
        jnp.take_along_axis(present, order, axis=1),
        length - 1,
        pad_id,
    )
    mixed = _ended(mixed, end_id)
    first = jnp.full((len(both), 1), begin_id, jnp.int32)
    return Rows(
        jnp.concatenate([first, mixed.tokens], axis=1),
        jnp.pad(mixed.present, ((0, 0), (1, 0)), constant_values=True),
    )


def _words(rows: Rows, begin_id: int, end_id: int) -> jax.Array:
    """Which tokens are words: neither padding nor [BOS] nor [EOS]."""
    return rows.present & (rows.tokens != end_id) & (rows.tokens != begin_id)


def _packed(tokens: jax.Array, chosen: jax.Array, length: int, pad_id: int) -> Rows:
    """The chosen tokens of each row from its beginning on, at most `length - 1`, so that one more has room."""
    order = jnp.argsort(~chosen, axis=1, stable=True)[:, :length]
    present = jnp.take_along_axis(chosen, order, axis=1)
    short = length - order.shape[1]
    tokens = jnp.pad(jnp.take_along_axis(tokens, order, axis=1), ((0, 0), (0, max(short, 0))))
    present = jnp.pad(present, ((0, 0), (0, max(short, 0))))
    present = present & (jnp.arange(length, dtype=jnp.int32) < length - 1)[None]
    return Rows(jnp.where(present, tokens, pad_id).astype(jnp.int32), present)


def _ended(rows: Rows, end_id: int) -> Rows:
    """The rows with [EOS] after their last token."""
    count = rows.present.sum(-1, keepdims=True, dtype=jnp.int32)
    places = jnp.arange(rows.tokens.shape[1], dtype=jnp.int32)[None]
    return Rows(jnp.where(places == count, end_id, rows.tokens), places <= count)
