"""Masked language modelling: selects the tokens to predict and replaces them in the input.

The units are tokens (BERT, arXiv:1810.04805), whole words (github.com/google-research/bert) or n-grams of words
(ALBERT, arXiv:1909.11942). All shapes are fixed. Masking runs on the device inside the training step, so that masks
differ in every epoch.
"""

import dataclasses
import functools
import math
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.domains import Length, PositiveShare, Probability, Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.ops.selection import argsort_keys
from ssl_jax.transforms.selection import random_keys, uniform


@dataclasses.dataclass(frozen=True)
class MaskingConfig(Settings):
    """The masking of a row; the defaults are BERT's."""

    rate: PositiveShare = 0.15
    """Share of a row's tokens that are predicted."""
    max_predictions: Length | None = None
    """Largest number of predictions per row; None for rate times the row length: 20 at 128 tokens, 77 at 512."""
    count: Literal["exact", "bernoulli"] = "exact"
    """exact: max(1, round(rate * tokens)) per row; bernoulli: each token or word with this probability."""
    unit: Literal["token", "word", "ngram"] = "token"
    """What is selected as a whole: a token, a word, or an n-gram of up to max_ngram consecutive words."""
    max_ngram: Annotated[int, integers(1, 100)] = 3
    """Longest n-gram, in words; the probability of n is proportional to 1 / n."""
    mask_prob: Probability = 0.8
    """Share of the predicted tokens that are replaced by the mask token."""
    random_prob: Probability = 0.1
    """Share that are replaced by a token drawn from the whole vocabulary; the others are not changed."""

    def check_relations(self) -> None:
        if self.mask_prob + self.random_prob > 1 + 1e-6:
            raise UserError(
                f"masking.mask_prob {self.mask_prob} and masking.random_prob {self.random_prob} must add up to at most "
                "1; the remaining tokens are not changed."
            )
        if self.unit == "ngram" and self.count == "bernoulli":
            raise UserError(
                "masking.count bernoulli is not defined for masking.unit ngram, whose runs would overlap; "
                "use masking.count exact, or masking.unit word."
            )

    def slots(self, length: int) -> int:
        """The number P of prediction slots in a row of `length` tokens: `max_predictions`, but at most `length`.

        If `max_predictions` is None, it is the exact count, or four standard deviations above the mean of a random
        count.
        """
        spread = 4 * math.sqrt(self.rate * (1 - self.rate) * length) if self.count == "bernoulli" else 0
        enough = max(1, math.ceil(self.rate * length + spread))
        return min(length, enough if self.max_predictions is None else self.max_predictions)


class Masked(NamedTuple):
    """A masked row, with P = `MaskingConfig.slots`.

    Slots without a prediction come last and have position, label and weight 0. Only `weights` distinguishes them,
    because 0 is also a valid position and token. The order of the predictions has no meaning.

    Attributes:
      tokens: int32 `[length]`, input of the model.
      positions: int32 `[P]`, positions to predict.
      labels: int32 `[P]`, the original tokens at these positions.
      weights: float32 `[P]`, 1 for a prediction, 0 for an empty slot.
    """

    tokens: jax.Array
    positions: jax.Array
    labels: jax.Array
    weights: jax.Array


def mask_batch(
    rng: jax.Array,
    tokens: jax.Array,
    segment_ids: jax.Array,
    words: jax.Array | None = None,
    *,
    config: MaskingConfig,
    mask_id: int,
    special_ids: tuple[int, ...],
    vocab_size: int | jax.Array,
) -> Masked:
    """`mask_tokens` on a batch `[batch, length]`.

    Each row has its own key, so that the result does not depend on the number of devices. `vocab_size` may be
    `[batch]`, as in the batches of `ssl_jax.data`: only the data knows the size of a tokenizer that is trained first.
    """

    def row(
        rng: jax.Array, tokens: jax.Array, segment_ids: jax.Array, words: jax.Array | None, size: jax.Array
    ) -> Masked:
        names = {"mask_id": mask_id, "special_ids": special_ids, "vocab_size": size}
        return mask_tokens(rng, tokens, segment_ids, words, config=config, **names)

    sizes = jnp.broadcast_to(jnp.asarray(vocab_size, jnp.uint32), tokens.shape[:1])
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, segment_ids, words, sizes)


def mask_tokens(
    rng: jax.Array,
    tokens: jax.Array,
    segment_ids: jax.Array,
    words: jax.Array | None = None,
    *,
    config: MaskingConfig,
    mask_id: int,
    special_ids: tuple[int, ...],
    vocab_size: int | jax.Array,
) -> Masked:
    """Draws the predictions of one row without replacement and replaces their tokens.

    The rules are those of google-research/bert. The count is a share of all tokens of the row, including [CLS] and
    [SEP], which are never predicted. The 80/10/10 choice is independent for each prediction. Random replacements are
    drawn from the whole vocabulary, including special tokens.

    Args:
      rng: a key.
      tokens: int32 `[length]`.
      segment_ids: int32 `[length]`, 0 for padding.
      words: int32 `[length]`, index of the word that each token belongs to; required by the units word and ngram.
      config: rates and units.
      mask_id: the mask token.
      special_ids: tokens that are never selected; in the reference [PAD], [CLS] and [SEP], but not [UNK].
      vocab_size: number of tokens in the vocabulary, without unused rows of the embedding table.
    """
    length, slots = tokens.shape[0], config.slots(tokens.shape[0])
    # One draw: each split of a key costs as much as many random numbers.
    bits = jax.random.bits(rng, (2 * slots + (1 if config.unit == "token" else 2) * length,), jnp.uint32)
    choice_bits, token_bits, order_bits, run_bits = jnp.split(bits, [slots, 2 * slots, 2 * slots + length])

    candidates = (segment_ids > 0) & ~_is_any_of(tokens, special_ids)
    budget = _budget(config, length)[jnp.sum(segment_ids > 0, dtype=jnp.int32)]
    if config.unit == "token":
        positions, count = _draw_tokens(order_bits, candidates, budget, config)
    elif words is None:
        raise ValueError(f"masking unit {config.unit!r} needs `words`, the word each token belongs to")
    else:
        positions, count = _draw_words(order_bits, run_bits, candidates, words, budget, config)

    valid = jnp.arange(slots, dtype=jnp.int32) < count
    labels = tokens[positions]
    choice = uniform(choice_bits)
    random = (token_bits % jnp.asarray(vocab_size, jnp.uint32)).astype(tokens.dtype)
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
    """`[length + 1]`: the largest number of predictions by the number of tokens in the row, rounded as Python does."""
    if config.count == "exact":
        counts = [max(1, round(config.rate * tokens)) for tokens in range(length + 1)]
    else:
        counts = [length] * (length + 1)
    return jnp.asarray(np.minimum(counts, config.slots(length)), jnp.int32)


def _accepted(keys: jax.Array, config: MaskingConfig) -> jax.Array:
    """The indices that may be drawn: all candidates, or each candidate independently with probability `rate`."""
    return keys < jnp.uint32(2**31 * (config.rate if config.count == "bernoulli" else 1))


def _draw_tokens(
    bits: jax.Array, candidates: jax.Array, budget: jax.Array, config: MaskingConfig
) -> tuple[jax.Array, jax.Array]:
    """Positions `[P]`, of which the first `count` are drawn, and `count`."""
    keys = random_keys(bits, candidates)
    count = jnp.minimum(budget, jnp.sum(_accepted(keys, config), dtype=jnp.int32))
    return argsort_keys(keys)[: config.slots(keys.shape[0])], count


def _draw_words(
    order_bits: jax.Array,
    run_bits: jax.Array,
    candidates: jax.Array,
    words: jax.Array,
    budget: jax.Array,
    config: MaskingConfig,
) -> tuple[jax.Array, jax.Array]:
    """Positions `[P]` of whole words, of which the first `count` are drawn, and `count`.

    As in create_pretraining_data.py of google-research/bert and google-research/albert, the words of a row are visited
    in random order, and each is selected if it still fits into the budget. Thus a long word never exceeds the budget.
    With n-grams, the visited word starts a run of n words. The run is shortened until it fits, and skipped if it
    overlaps a selected run. A run never crosses a special token.
    """
    length = candidates.shape[0]
    index = jnp.arange(length, dtype=jnp.int32)

    # Word w is the range [begin[w], end[w]) of positions; words that do not exist come last.
    follows = jnp.roll(candidates, 1) & (words == jnp.roll(words, 1)) & (index > 0)
    starts = candidates & ~follows
    begin = jnp.sort(jnp.where(starts, index, length))
    end = jnp.sort(jnp.where(candidates & ~jnp.roll(candidates & follows, -1), index + 1, length + 1))
    sizes = _run_sizes(begin, end, config.max_ngram if config.unit == "ngram" else 1)

    keys = random_keys(order_bits, begin < length)
    accepted = _accepted(keys, config)
    wanted = _draw_run_lengths(run_bits, jnp.sum(sizes <= length, axis=0, dtype=jnp.int32), sizes.shape[0])

    # Each iteration goes directly to the next word in the order of `keys` that can be selected. `unvisited` ensures
    # that a skipped run is not selected later, when a smaller budget shortens it. `room` is the number of free words
    # from each word on.
    def take(_: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        left, unvisited, room = state
        run = jnp.minimum(wanted, jnp.sum(sizes <= left, axis=0, dtype=jnp.int32))
        possible = accepted & (keys >= unvisited) & (run > 0) & (run <= room)
        word = jnp.argmin(jnp.where(possible, keys, jnp.uint32(2**32 - 1))).astype(jnp.int32)
        room_after = jnp.where(index < word, jnp.minimum(room, word - index), room)
        room_after = jnp.where((index >= word) & (index < word + run[word]), 0, room_after)
        after = (left - sizes[run[word] - 1, word], keys[word] + 1, room_after)
        return jax.tree.map(functools.partial(jnp.where, possible[word]), after, state)

    slots = config.slots(length)
    _, _, room = jax.lax.fori_loop(
        0, slots, take, (budget, jnp.uint32(0), jnp.full(length, length, jnp.int32))
    )
    hidden = candidates & (room == 0)[jnp.cumsum(starts, dtype=jnp.int32) - 1]
    return jnp.sort(jnp.where(hidden, index, length))[:slots], jnp.sum(hidden, dtype=jnp.int32)


def _run_sizes(begin: jax.Array, end: jax.Array, longest: int) -> jax.Array:
    """`[longest, length]`: tokens in the run of 1, 2, ... words from each word on; length + 1 if it does not exist."""
    length = begin.shape[0]
    sizes = [jnp.where(begin < length, end - begin, length + 1)]
    for n in range(1, longest):
        next_begin = jnp.pad(begin[n:], (0, n), constant_values=length)
        next_end = jnp.pad(end[n:], (0, n), constant_values=length + 1)
        joined = (sizes[-1] <= length) & (begin + sizes[-1] == next_begin) & (next_begin < length)
        sizes.append(jnp.where(joined, next_end - begin, length + 1))
    return jnp.stack(sizes)


def _draw_run_lengths(bits: jax.Array, available: jax.Array, longest: int) -> jax.Array:
    """Draws a number n of words for each word, with probability proportional to 1 / n among the available lengths."""
    shares = 1 / jnp.arange(1, longest + 1, dtype=jnp.float32)
    cumulative = jnp.concatenate([jnp.zeros(1, jnp.float32), jnp.cumsum(shares)])
    threshold = uniform(bits) * cumulative[available]
    return jnp.sum(threshold[None] >= cumulative[:longest, None], axis=0, dtype=jnp.int32)
