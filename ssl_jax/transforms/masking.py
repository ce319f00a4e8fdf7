"""Masked language modelling: which tokens to predict, and what the model sees in their place.

BERT (arXiv:1810.04805), whole words (github.com/google-research/bert) and n-grams of them (ALBERT,
arXiv:1909.11942). Everything has a fixed shape and runs on the device inside the training step, so every
epoch sees new masks.
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError
from ssl_jax.transforms.selection import uniform


@dataclasses.dataclass(frozen=True)
class MaskingConfig:
    """How masked language modelling hides tokens; the defaults are BERT's."""

    rate: float = 0.15
    """Share of a row's tokens that are predicted."""
    max_predictions: int | None = None
    """Most predictions a row has; None for what the rate asks of a full row: 20 at 128 tokens, 77 at 512."""
    count: Literal["exact", "bernoulli"] = "exact"
    """exact: max(1, round(rate * tokens)) a row; bernoulli: each token or word with this probability."""
    unit: Literal["token", "word", "ngram"] = "token"
    """What is hidden at once: a token, a whole word, or up to max_ngram neighbouring whole words."""
    max_ngram: int = 3
    """Longest run of words under unit ngram; n words are drawn in proportion to 1 / n."""
    mask_prob: float = 0.8
    """Share of the predicted tokens that are replaced by the mask token."""
    random_prob: float = 0.1
    """Share that are replaced by a token drawn from the whole vocabulary; the rest stay as they are."""

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 1:
            raise UserError(f"masking.rate {self.rate} must be above 0 and at most 1; BERT uses 0.15.")
        if self.max_predictions is not None and self.max_predictions < 1:
            raise UserError(f"masking.max_predictions {self.max_predictions} must be at least 1.")
        if self.max_ngram < 1:
            raise UserError(f"masking.max_ngram {self.max_ngram} must be at least 1; ALBERT uses 3.")
        if min(self.mask_prob, self.random_prob) < 0 or self.mask_prob + self.random_prob > 1 + 1e-6:
            raise UserError(
                f"masking.mask_prob {self.mask_prob} and masking.random_prob {self.random_prob} must not be "
                "negative and may add up to 1 at most; what is missing to 1 is the share of tokens kept."
            )
        if self.unit == "ngram" and self.count == "bernoulli":
            raise UserError(
                "masking.count bernoulli is not defined for masking.unit ngram, whose runs would overlap; "
                "use masking.count exact, or masking.unit word."
            )

    def slots(self, length: int) -> int:
        """Room for predictions in a row of `length` tokens: `max_predictions`, at most `length`.

        None stands for the exact count, or for four standard deviations above the mean of a random one.
        """
        spread = 4 * math.sqrt(self.rate * (1 - self.rate) * length) if self.count == "bernoulli" else 0
        enough = max(1, math.ceil(self.rate * length + spread))
        return min(length, enough if self.max_predictions is None else self.max_predictions)


class Masked(NamedTuple):
    """A masked row; P is `MaskingConfig.slots`.

    Slots without a prediction have position, label and weight 0 and come last. Only `weights` tells them
    apart: 0 is also a position and a token. The order of the others means nothing.
    """

    tokens: jax.Array  # [length] int32, what the model reads
    positions: jax.Array  # [P] int32, where it predicts
    labels: jax.Array  # [P] int32, the original tokens there
    weights: jax.Array  # [P] float32, 1 for a prediction, 0 for an empty slot


def mask_batch(
    rng: jax.Array,
    tokens: jax.Array,
    segment_ids: jax.Array,
    words: jax.Array | None = None,
    *,
    config: MaskingConfig,
    mask_id: int,
    special_ids: tuple[int, ...],
    vocab_size: int,
) -> Masked:
    """`mask_tokens` on a batch [batch, length]: each row from its own key, whatever the number of devices."""
    row = functools.partial(
        mask_tokens, config=config, mask_id=mask_id, special_ids=special_ids, vocab_size=vocab_size
    )
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, segment_ids, words)


def mask_tokens(
    rng: jax.Array,
    tokens: jax.Array,
    segment_ids: jax.Array,
    words: jax.Array | None = None,
    *,
    config: MaskingConfig,
    mask_id: int,
    special_ids: tuple[int, ...],
    vocab_size: int,
) -> Masked:
    """Draws the predictions of one row without replacement, and hides their tokens.

    Counts, the 80/10/10 choice (independent for every prediction) and random replacements (from the whole
    vocabulary, special tokens included) are those of google-research/bert: the count is a share of all tokens
    of the row, [CLS] and [SEP] included, though these are never predicted.

    Args:
      rng: a key.
      tokens: [length] int32.
      segment_ids: [length] int32, 0 for padding.
      words: [length] int32, the word each token belongs to; needed for the units word and ngram.
      mask_id: the mask token.
      special_ids: tokens that are never touched; in the reference [PAD], [CLS] and [SEP], but not [UNK].
      vocab_size: number of tokens in the vocabulary, without any padding of the embedding table.
    """
    length, slots = tokens.shape[0], config.slots(tokens.shape[0])
    # One draw, as each split of a key costs as much as many random numbers.
    bits = jax.random.bits(rng, (2 * slots + (1 if config.unit == "token" else 2) * length,))
    choice_bits, token_bits, order_bits, run_bits = jnp.split(bits, [slots, 2 * slots, 2 * slots + length])

    candidates = (segment_ids > 0) & ~_is_any_of(tokens, special_ids)
    budget = _budget(config, length)[jnp.sum(segment_ids > 0)]
    if config.unit == "token":
        positions, count = _draw_tokens(order_bits, candidates, budget, config)
    elif words is None:
        raise ValueError(f"masking unit {config.unit!r} needs `words`, the word each token belongs to")
    else:
        positions, count = _draw_words(order_bits, run_bits, candidates, words, budget, config)

    valid = jnp.arange(slots) < count
    labels = tokens[positions]
    choice = uniform(choice_bits)
    random = (token_bits % jnp.uint32(vocab_size)).astype(tokens.dtype)
    shown = jnp.where(choice < config.mask_prob + config.random_prob, random, labels)
    shown = jnp.where(choice < config.mask_prob, mask_id, shown)
    return Masked(
        tokens=tokens.at[jnp.where(valid, positions, length)].set(shown, mode="drop"),
        positions=jnp.where(valid, positions, 0),
        labels=jnp.where(valid, labels, 0),
        weights=valid.astype(jnp.float32),
    )


def _is_any_of(tokens: jax.Array, ids: tuple[int, ...]) -> jax.Array:
    found = jnp.zeros(tokens.shape, bool)
    for token in ids:
        found |= tokens == token
    return found


def _budget(config: MaskingConfig, length: int) -> jax.Array:
    """[length + 1]: the most predictions of a row by its number of tokens, rounded as Python rounds."""
    if config.count == "exact":
        counts = [max(1, round(config.rate * tokens)) for tokens in range(length + 1)]
    else:
        counts = [length] * (length + 1)
    return jnp.asarray(np.minimum(counts, config.slots(length)), jnp.int32)


def _random_order(bits: jax.Array, candidates: jax.Array) -> tuple[jax.Array, int]:
    """A distinct uint32 per index, random below 2^31 for candidates and above for others; its index bits.

    The low bits of a key are the index, so that sorting one array of integers gives the order (a stable sort,
    one of pairs, and top_k are several times slower on a CPU). That leaves 24 random bits at 128 tokens, 22
    at 512.
    """
    index_bits = max(1, (candidates.shape[0] - 1).bit_length())
    priority = jnp.where(candidates, bits >> (index_bits + 1), 1 << (31 - index_bits))
    return (priority << index_bits) | jnp.arange(candidates.shape[0], dtype=jnp.uint32), index_bits


def _accepted(keys: jax.Array, config: MaskingConfig) -> jax.Array:
    """Indices that may be drawn: all candidates, or a share `rate` of them, each independently."""
    return keys < jnp.uint32(2**31 * (config.rate if config.count == "bernoulli" else 1))


def _draw_tokens(
    bits: jax.Array, candidates: jax.Array, budget: jax.Array, config: MaskingConfig
) -> tuple[jax.Array, jax.Array]:
    """Positions [P], of which the first `count` are drawn."""
    keys, index_bits = _random_order(bits, candidates)
    first = jnp.sort(keys, stable=False)[: config.slots(keys.shape[0])]
    count = jnp.minimum(budget, jnp.sum(_accepted(keys, config)))
    return (first & ((1 << index_bits) - 1)).astype(jnp.int32), count


def _draw_words(
    order_bits: jax.Array,
    run_bits: jax.Array,
    candidates: jax.Array,
    words: jax.Array,
    budget: jax.Array,
    config: MaskingConfig,
) -> tuple[jax.Array, jax.Array]:
    """Positions [P] of whole words, of which the first `count` are drawn.

    The words of a row are visited in random order and each is taken if it still fits into the budget, so that
    a long word never exceeds it. With n-grams, the visited word starts a run of n words, shortened until it
    fits and passed over if it meets a run taken before; a run never crosses a special token. As in
    create_pretraining_data.py of google-research/bert and google-research/albert.
    """
    length = candidates.shape[0]
    index = jnp.arange(length)

    # Word w is the range [begin[w], end[w]) of positions; the words a row does not have come last.
    follows = jnp.roll(candidates, 1) & (words == jnp.roll(words, 1)) & (index > 0)
    starts = candidates & ~follows
    begin = jnp.sort(jnp.where(starts, index, length))
    end = jnp.sort(jnp.where(candidates & ~jnp.roll(candidates & follows, -1), index + 1, length + 1))
    sizes = _run_sizes(begin, end, config.max_ngram if config.unit == "ngram" else 1)

    keys, _ = _random_order(order_bits, begin < length)
    accepted = _accepted(keys, config)
    wanted = _draw_run_lengths(run_bits, jnp.sum(sizes <= length, axis=0), sizes.shape[0])

    # Each turn goes straight to the next word, in the order of `keys`, that can be taken. `unvisited` keeps
    # runs that were passed over from coming back when a smaller budget shortens them; `room` counts the free
    # words from each word on.
    def take(_: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        left, unvisited, room = state
        run = jnp.minimum(wanted, jnp.sum(sizes <= left, axis=0))
        possible = accepted & (keys >= unvisited) & (run > 0) & (run <= room)
        word = jnp.argmin(jnp.where(possible, keys, jnp.uint32(2**32 - 1)))
        room_after = jnp.where(index < word, jnp.minimum(room, word - index), room)
        room_after = jnp.where((index >= word) & (index < word + run[word]), 0, room_after)
        after = (left - sizes[run[word] - 1, word], keys[word] + 1, room_after)
        return jax.tree.map(functools.partial(jnp.where, possible[word]), after, state)

    slots = config.slots(length)
    _, _, room = jax.lax.fori_loop(0, slots, take, (budget, jnp.uint32(0), jnp.full(length, length)))
    hidden = candidates & (room == 0)[jnp.cumsum(starts) - 1]
    return jnp.sort(jnp.where(hidden, index, length))[:slots], jnp.sum(hidden)


def _run_sizes(begin: jax.Array, end: jax.Array, longest: int) -> jax.Array:
    """[longest, length]: tokens in the run of 1, 2, ... words from each word on; length + 1 for none."""
    length = begin.shape[0]
    sizes = [jnp.where(begin < length, end - begin, length + 1)]
    for n in range(1, longest):
        next_begin = jnp.pad(begin[n:], (0, n), constant_values=length)
        next_end = jnp.pad(end[n:], (0, n), constant_values=length + 1)
        joined = (sizes[-1] <= length) & (begin + sizes[-1] == next_begin) & (next_begin < length)
        sizes.append(jnp.where(joined, next_end - begin, length + 1))
    return jnp.stack(sizes)


def _draw_run_lengths(bits: jax.Array, available: jax.Array, longest: int) -> jax.Array:
    """A number n of words for every word, in proportion to 1 / n among those available after it."""
    cumulative = jnp.concatenate([jnp.zeros(1), jnp.cumsum(1 / jnp.arange(1, longest + 1))])
    threshold = uniform(bits) * cumulative[available]
    return jnp.sum(threshold[None] >= cumulative[:longest, None], axis=0)
