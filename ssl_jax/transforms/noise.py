"""The noises of BART: token masking and deletion, text infilling, sentence permutation, document rotation.

BART (arXiv:1910.13461) predicts the whole original from a text corrupted by one or several of them; the paper's best is
text infilling of 30 % with permutation of all sentences. All shapes are fixed. They run on the device inside the
training step.
"""

import dataclasses
import functools
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.domains import Probability, Settings, numbers
from ssl_jax.ops.reductions import cumsum
from ssl_jax.transforms.denoising import Denoising
from ssl_jax.transforms.selection import choose, compaction_indices


@dataclasses.dataclass(frozen=True)
class NoiseConfig(Settings):
    """The amount of each noise; they are applied in the order of the fields. The defaults are BART's."""

    permutation: Probability = 1.0
    """Share of a row's sentences that are permuted, rounded up."""
    masking: Probability = 0.0
    """Share of the tokens that are each replaced by a mask, rounded up."""
    deletion: Probability = 0.0
    """Share of the tokens that are deleted, rounded up."""
    infilling: Probability = 0.3
    """Share of the words that are removed in spans, rounded up; one mask replaces each span."""
    mean_span: Annotated[float, numbers(1, 100)] = 3.0
    """Mean of the Poisson distribution of a span's length in words; a span of length 0 inserts a mask."""
    rotation: Probability = 0.0
    """Probability that a row is rotated to begin at one of its tokens, drawn uniformly."""


def noise_batch(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    sentences: jax.Array,
    *,
    config: NoiseConfig,
    mask_id: int,
    pad_id: int,
    start_id: int,
) -> Denoising:
    """`noise_tokens` on a batch `[batch, length]`.

    Each row has its own key, so that the result does not depend on the number of devices.
    """
    row = functools.partial(noise_tokens, config=config, mask_id=mask_id, pad_id=pad_id, start_id=start_id)
    return jax.vmap(row)(jax.random.split(rng, tokens.shape[0]), tokens, present, words, sentences)


def noise_tokens(
    rng: jax.Array,
    tokens: jax.Array,
    present: jax.Array,
    words: jax.Array,
    sentences: jax.Array,
    *,
    config: NoiseConfig,
    mask_id: int,
    pad_id: int,
    start_id: int,
) -> Denoising:
    """Corrupts one row. The targets are the original; the decoder's inputs are the original shifted right by one.

    S and T are `length`. The noises are those of denoising_dataset.py in facebookresearch/fairseq, except infilling
    (see `_infill`) and the start of a rotation, which is exactly uniform here. Deletion and infilling shorten a row.
    Infilling lengthens it when it inserts more masks than it removes tokens; insertions that do not fit into the row
    are omitted.

    Args:
      rng: a key.
      tokens, present, words, sentences: `[length]`, a row as defined in `ssl_jax.transforms.denoising`.
      config: amount of each noise.
      mask_id: the mask token.
      pad_id: the padding token.
      start_id: the decoder's first input: [EOS] in BART.
    """
    length = tokens.shape[0]
    spans = _most_spans(config, length)
    sizes = (
        length if config.permutation else 0,
        length if config.masking else 0,
        length if config.deletion else 0,
        length + spans + 1 if config.infilling else 0,
        2 if config.rotation else 0,
    )
    # One draw: each split of a key costs as much as many random numbers.
    bits = jnp.split(jax.random.bits(rng, (sum(sizes),), jnp.uint32), np.cumsum(sizes)[:-1])
    row = _Row(tokens, words, jnp.sum(present, dtype=jnp.int32))
    if config.permutation:
        row = _permute(bits[0], row, sentences, config.permutation)
    if config.masking:
        row = _mask(bits[1], row, config.masking, mask_id)
    if config.deletion:
        row = _delete(bits[2], row, config.deletion)
    if config.infilling:
        row = _infill(bits[3], row, config, spans, mask_id)
    if config.rotation:
        row = _rotate(bits[4], row, config.rotation)

    used = jnp.arange(length, dtype=jnp.int32) < row.size
    return Denoising(
        source=jnp.where(used, row.tokens, pad_id),
        source_present=used,
        context_present=used,
        inputs=jnp.where(present, jnp.roll(tokens, 1).at[0].set(start_id), pad_id),
        positions=jnp.arange(length, dtype=jnp.int32),
        targets=jnp.where(present, tokens, pad_id),
        weights=present.astype(jnp.float32),
    )


class _Row(NamedTuple):
    """A partly corrupted row. Only its first `size` slots are valid.

    Attributes:
      tokens: int32 `[length]`.
      words: int32 `[length]`, -1 outside the text.
      size: scalar.
    """

    tokens: jax.Array
    words: jax.Array
    size: jax.Array

    @property
    def text(self) -> jax.Array:
        """The tokens that may be corrupted, bool `[length]`."""
        return (self.words >= 0) & (jnp.arange(self.words.shape[0], dtype=jnp.int32) < self.size)


def _moved(row: _Row, slots: jax.Array, onto: _Row) -> _Row:
    """`onto` after each token of `row` and its word are written to their new slot; slot `length` drops them."""
    tokens = onto.tokens.at[slots].set(row.tokens, mode="drop")
    words = onto.words.at[slots].set(row.words, mode="drop")
    return _Row(tokens, words, onto.size)


def _share(share: float, length: int) -> jax.Array:
    """int32 `[length + 1]`: the share of each number up to `length`, rounded up."""
    # 0.07 * 100 is slightly more than 7 in floating point.
    return jnp.asarray([math.ceil(share * n - 1e-9) for n in range(length + 1)], jnp.int32)


def _permute(bits: jax.Array, row: _Row, sentences: jax.Array, share: float) -> _Row:
    """Permutes a share of the sentences. The subset and its permutation are uniform."""
    length = row.tokens.shape[0]
    index = jnp.arange(length, dtype=jnp.int32)
    first = row.text & (sentences != jnp.roll(sentences, 1))
    count = jnp.sum(first, dtype=jnp.int32)
    end = jnp.sum(row.text, dtype=jnp.int32) + 1
    # Of each sentence; sentences that do not exist are empty.
    begins = jnp.full(length + 1, end).at[jnp.where(first, sentences, length)].set(index, mode="drop")
    begins = begins.at[length].set(end)
    sizes = jnp.diff(begins)

    # The sentences in random order. Sorting is fast here, because most keys are equal.
    index_bits = max(1, (length - 1).bit_length())
    keys = (bits >> (index_bits + 1) << index_bits) | index.astype(jnp.uint32)
    keys = jnp.sort(jnp.where(index < count, keys, jnp.uint32(2**32 - 1)), stable=False)
    order = (keys & (2**index_bits - 1)).astype(jnp.int32)
    if share < 1:  # The first sentences of this order are permuted among their own slots.
        drawn = index < _share(share, length)[count]
        slots = jnp.sort(jnp.where(drawn, order, length), stable=False)
        order = index.at[slots].set(order, mode="drop")
    follows = cumsum(sizes[order])
    moves = 1 + follows - sizes[order] - begins[order]
    moves = jnp.zeros_like(moves).at[order].set(moves, mode="drop")
    return _moved(row, jnp.where(row.text, index + moves[sentences], index), row)


def _mask(bits: jax.Array, row: _Row, share: float, mask_id: int) -> _Row:
    text = row.text
    masked = choose(bits, text, _share(share, text.shape[0])[jnp.sum(text, dtype=jnp.int32)])
    return row._replace(tokens=jnp.where(masked, mask_id, row.tokens))


def _delete(bits: jax.Array, row: _Row, share: float) -> _Row:
    text = row.text
    count = _share(share, text.shape[0])[jnp.sum(text, dtype=jnp.int32)]
    kept = (jnp.arange(text.shape[0], dtype=jnp.int32) < row.size) & ~choose(bits, text, count)
    return _moved(row, compaction_indices(kept), row._replace(size=row.size - count))


def _infill(bits: jax.Array, row: _Row, config: NoiseConfig, most_spans: int, mask_id: int) -> _Row:
    """Removes words in spans of Poisson lengths, and inserts one mask at each span, including empty spans.

    As in the reference, lengths are drawn until they add up to the share of the words; the last one is truncated. The
    arrangement is drawn uniformly among all arrangements of these spans and the remaining words. So exactly the share
    is removed, each span has its mask, and spans may be adjacent. The reference draws only the first word of each span.
    Its spans overlap, so that it removes fewer words than configured and loses masks.
    """
    length = row.tokens.shape[0]
    index = jnp.arange(length, dtype=jnp.int32)
    text = row.text
    ordinals = cumsum(text & (row.words != jnp.roll(row.words, 1))) - 1
    count = ordinals[-1] + 1
    budget = _share(config.infilling, length)[count]
    place_bits, size_bits, turn_bits = jnp.split(bits, [length, length + most_spans])
    room = length - row.size + budget  # for masks, even if each of the hidden words is a single token
    sizes, spans = _draw_spans(size_bits, turn_bits[0], budget, room, config.mean_span)

    # Items in the order of the text: the remaining words, and the spans, which are the chosen items.
    items = count - budget + spans
    chosen = choose(place_bits, index < items, spans)
    spans_before = cumsum(chosen)
    hidden_before = jnp.concatenate([jnp.zeros(1, sizes.dtype), jnp.cumsum(sizes, dtype=jnp.int32)])[
        spans_before
    ]
    word = index - spans_before + hidden_before
    stays = (index < items) & ~chosen
    masks_before = (
        jnp.full(length, -1, jnp.int32).at[jnp.where(stays, word, length)].set(spans_before, mode="drop")
    )

    # Back to tokens: each kept token moves right by the number of masks before it, which leaves the masks' slots free.
    moves = jnp.where(text, masks_before[ordinals], jnp.where(index > 0, spans, 0))
    kept = (index < row.size) & (moves >= 0)
    size = jnp.sum(kept, dtype=jnp.int32) + spans
    masks = _Row(jnp.full(length, mask_id, row.tokens.dtype), jnp.zeros_like(row.words), size)
    return _moved(row, jnp.where(kept, compaction_indices(kept) + moves, length), masks)


def _most_spans(config: NoiseConfig, length: int) -> int:
    """An upper bound on the number of spans in a row.

    The lengths of this many spans reach the share of the words, except in one of millions of rows, whose last span is
    longer.
    """
    budget = math.ceil(config.infilling * length)
    return math.ceil((budget + 6 * math.sqrt(budget) + 12) / config.mean_span) if budget else 0


def _draw_spans(
    bits: jax.Array, turn_bits: jax.Array, budget: jax.Array, room: jax.Array, mean: float
) -> tuple[jax.Array, jax.Array]:
    """Draws the number of words in each span, and the number of spans.

    Returns:
      sizes `[most spans]`, 0 for unused slots; and the number of spans, at most `room`.
    """
    most = bits.shape[0]
    drawn = jnp.sum(bits[:, None] >= _poisson_thresholds(mean)[None], axis=1, dtype=jnp.int32)
    total = jnp.minimum(jnp.cumsum(drawn, dtype=jnp.int32), budget).at[-1].set(budget)
    before = jnp.concatenate([jnp.zeros(1, total.dtype), total[:-1]])
    sizes = total - before
    empty = (before < budget) & (sizes == 0)
    kept = (sizes > 0) | (
        empty & (jnp.cumsum(empty, dtype=jnp.int32) <= room - jnp.sum(sizes > 0, dtype=jnp.int32))
    )
    count = jnp.sum(kept, dtype=jnp.int32)
    # The last span is truncated to the rest of the budget. A random rotation gives it a uniformly random place.
    turned = (jnp.cumsum(kept, dtype=jnp.int32) + (turn_bits >> 8).astype(count.dtype)) % jnp.maximum(
        count, 1
    )
    return jnp.zeros_like(sizes).at[jnp.where(kept, turned, most)].set(sizes, mode="drop"), count


def _poisson_thresholds(mean: float) -> np.ndarray:
    """Thresholds of a random uint32: the number of those that it reaches has a Poisson distribution with this mean."""
    counts = np.arange(1, math.ceil(mean + 8 * math.sqrt(mean) + 24))
    logarithms = np.concatenate([[-mean], -mean + np.cumsum(np.log(mean / counts))])
    thresholds = np.floor(np.cumsum(np.exp(logarithms)) * 2**32)
    return thresholds[thresholds < 2**32].astype(np.uint32)


def _rotate(bits: jax.Array, row: _Row, probability: float) -> _Row:
    index, text = jnp.arange(row.tokens.shape[0], dtype=jnp.int32), row.text
    size = jnp.maximum(jnp.sum(text, dtype=jnp.int32), 1)
    start = (bits[1] % size.astype(jnp.uint32)).astype(index.dtype)
    start = jnp.where(bits[0] >> 8 < np.uint32(2**24 * probability), start, 0)
    return _moved(row, jnp.where(text, 1 + (index - 1 - start) % size, index), row)
