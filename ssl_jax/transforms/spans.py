"""The noise of T5: spans of the text are removed, and the decoder predicts them.

In span corruption (arXiv:1910.10683), a sentinel token replaces each span in the encoder's input and precedes the span
in the decoder's targets. All shapes are fixed. It runs on the device inside the training step.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp

from ssl_jax.domains import ProperShare, Settings, numbers
from ssl_jax.errors import UserError
from ssl_jax.ops.reductions import cumsum
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.selection import choose, compaction_indices


@dataclasses.dataclass(frozen=True)
class SpanConfig(Settings):
    """The amount of removed text and the number of spans; the defaults are T5's."""

    density: ProperShare = 0.15
    """Share of the text's tokens that are removed, rounded; at least one, and never all."""
    mean_span: Annotated[float, numbers(1, 1_000)] = 3.0
    """Mean span length in tokens: the number of spans is the number of removed tokens divided by this, rounded."""
    final_sentinel: bool = True
    """Whether the targets end in one more sentinel, as in figure 2 of the paper; T5's released code has none."""

    def counts(self, size: int) -> tuple[int, int]:
        """(removed tokens, spans) of a text of `size` tokens. Texts of less than two tokens are not corrupted.

        As random_spans_noise_mask of google-research/text-to-text-transfer-transformer, but there are at most as many
        spans as remaining tokens to separate them.
        """
        if size < 2:
            return 0, 0
        noise = min(max(round(size * self.density), 1), size - 1)
        return noise, min(max(round(noise / self.mean_span), 1), size - noise)

    def lengths(self, length: int) -> tuple[int, int]:
        """(S, T): slots of the encoder and of the decoder for rows of `length` tokens, including [BOS] and [EOS].

        A full row fills them. T5's rows of 568 tokens of text (570 here) give 512 and, without a final sentinel, 114.
        """
        noise, spans = self.counts(length - 2)
        return length - 2 - noise + spans + 1, noise + spans + self.final_sentinel + 1

    def sentinels(self, length: int) -> int:
        """Number of sentinel tokens that rows of `length` tokens need."""
        return self.counts(length - 2)[1] + self.final_sentinel


def row_length(config: SpanConfig, source_length: int) -> int:
    """Tokens, including [BOS] and [EOS], of the longest rows that become at most `source_length` in the encoder.

    As random_spans_helper of the reference: 570 for 512.
    """
    length = 3
    while config.lengths(length + 1)[0] <= source_length:
        length += 1
    return length


def corrupt_spans_batch(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    *,
    config: SpanConfig,
    first_sentinel: int,
    sentinels: int,
    eos_id: int,
    pad_id: int,
    start_id: int,
) -> Denoising:
    """`corrupt_spans` on a batch `[batch, length]`.

    Each row has its own key, so that the result does not depend on the number of devices.

    Raises:
      UserError: the vocabulary has too few sentinels.
    """
    needed = config.sentinels(tokens.shape[1])
    if needed > sentinels:
        raise UserError(
            f"{sentinels} sentinel tokens are too few: rows of {tokens.shape[1]} tokens at noise.density "
            f"{config.density} and noise.mean_span {config.mean_span} need {needed}."
        )
    row = functools.partial(
        corrupt_spans,
        config=config,
        first_sentinel=first_sentinel,
        eos_id=eos_id,
        pad_id=pad_id,
        start_id=start_id,
    )
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, present, words)


def corrupt_spans(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    *,
    config: SpanConfig,
    first_sentinel: int,
    eos_id: int,
    pad_id: int,
    start_id: int,
) -> Denoising:
    """Removes spans from one row. S and T are `SpanConfig.lengths`.

    The encoder reads the text with a sentinel for each span, then [EOS]; as in T5, there is no [BOS]. The decoder
    predicts each sentinel followed by its span, a final sentinel, and [EOS]. Sentinels are the ids `first_sentinel`,
    `first_sentinel - 1`, ...: T5 counts down from the end of the vocabulary. A row without text has no target.

    The text is divided alternately into kept pieces and removed spans, equal in number, starting with a kept piece; all
    divisions are equally likely. Thus the last token is always removed, as in the reference.

    Args:
      rng: a key.
      tokens, present, words: `[length]`, a row as defined in `ssl_jax.transforms.denoising`.
      config: density and span length.
      first_sentinel: id of the first sentinel.
      eos_id: last target.
      pad_id: the padding token.
      start_id: the decoder's first input: padding in T5.
    """
    length = tokens.shape[0]
    index = jnp.arange(length, dtype=jnp.int32)
    counts = jnp.asarray([config.counts(size) for size in range(length + 1)], jnp.int32)
    size = jnp.sum(words >= 0, dtype=jnp.int32)
    noise, spans = counts[size]
    most_noise, most_spans = (max(1, count) for count in config.counts(length - 2))
    # One draw: each split of a key costs as much as many random numbers.
    noise_bits, rest_bits = jnp.split(jax.random.bits(rng, (most_noise + length,), jnp.uint32), [most_noise])
    noise_begins = _segments(noise_bits, noise, spans, most_spans)
    rest_begins = _segments(rest_bits, size - noise, spans, most_spans)

    # Span g lies between the kept pieces g and g + 1; the text begins at 1. Unused spans have length 0.
    begins = 1 + rest_begins[1:] + noise_begins[:-1]
    ends = 1 + rest_begins[1:] + noise_begins[1:]
    edges = jnp.zeros(length, index.dtype).at[begins].add(1, mode="drop").at[ends].add(-1, mode="drop")
    hidden = cumsum(edges) > 0
    first = hidden & ~jnp.roll(hidden, 1)
    number = cumsum(first)  # index of the span, from 1
    sentinel = first_sentinel + 1 - number

    source_slots, target_slots = config.lengths(length)
    kept = present & (index > 0) & (first | ~hidden)
    source = jnp.full(source_slots, pad_id, tokens.dtype)
    source = source.at[compaction_indices(kept)].set(jnp.where(first, sentinel, tokens), mode="drop")
    source_present = jnp.arange(source_slots, dtype=jnp.int32) < jnp.sum(kept, dtype=jnp.int32)

    slots = jnp.arange(target_slots, dtype=jnp.int32)
    end = noise + spans + int(config.final_sentinel)
    used = (slots <= end) & (size > 0)
    slot = compaction_indices(hidden) + number
    targets = jnp.full(target_slots, first_sentinel - spans, tokens.dtype)
    targets = targets.at[jnp.where(hidden, slot, length)].set(tokens, mode="drop")
    targets = targets.at[jnp.where(first, slot - 1, length)].set(sentinel, mode="drop")
    targets = jnp.where(slots < end, targets, eos_id)
    return Denoising(
        source=source,
        source_present=source_present,
        context_present=source_present,
        inputs=jnp.where(used, jnp.roll(targets, 1).at[0].set(start_id), pad_id),
        positions=slots,
        targets=jnp.where(used, targets, pad_id),
        weights=used.astype(jnp.float32),
    )


def _segments(bits: jax.Array, items: jax.Array, segments: jax.Array, most: int) -> jax.Array:
    """`[most + 1]`: the first item of each segment of a random division; `items` beyond the last segment."""
    index = jnp.arange(bits.shape[0], dtype=jnp.int32)
    first = choose(bits, (index > 0) & (index < items), segments - 1) | ((index == 0) & (items > 0))
    begins = jnp.full(most + 1, items, index.dtype)
    return begins.at[jnp.where(first, cumsum(first) - 1, most + 1)].set(index, mode="drop")
