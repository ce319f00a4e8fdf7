"""Masks of spans of frames, and negatives among masked frames, as speech models use them; on the device.

An utterance has T frames; the rows of a batch are padded at the end. wav2vec 2.0 (arXiv:2006.11477, section 4.2) masks
spans of M = 10 frames whose starts are a share 0.065 of the frames; HuBERT (arXiv:2106.07447) takes 0.08. Spans may
overlap. fairseq's code (compute_mask_indices) never masks the last frame, and its number of spans follows the longest
row of the batch; here every true frame can be masked, padding never is, and a row's law depends on its length alone.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from ssl_jax.domains import Length, NonNegativeInt, ProperShare, Settings
from ssl_jax.ops.reductions import cumsum
from ssl_jax.transforms.selection import choose, compaction_indices, uniform


@dataclasses.dataclass(frozen=True)
class SpanMaskConfig(Settings):
    """The number and the length of the spans; the defaults are wav2vec 2.0's."""

    start_probability: ProperShare = 0.065
    """Share of an utterance's frames at which spans start."""
    span: Length = 10
    """Frames of a span. Spans may overlap."""
    least_spans: NonNegativeInt = 2
    """At least so many spans in each utterance."""

    def most_masked(self, frames: int) -> int:
        """The largest number of masked frames of an utterance of at most `frames` frames."""
        spans = max(math.floor(self.start_probability * frames) + 1, self.least_spans)
        return min(spans * self.span, frames)


def span_masks(rng: jax.Array, lengths: jax.Array, frames: int, config: SpanMaskConfig) -> jax.Array:
    """Draws the mask of each utterance.

    An utterance of T frames has floor(p T + u) spans, with u uniform in [0, 1), but at least `least_spans`; their
    starts are drawn without replacement from the places at which a whole span fits. An utterance that is shorter than a
    span has no mask.

    Args:
      rng: a key; each row has its own, so that the result does not depend on the number of devices.
      lengths: int32 `[batch]`, the true frames of each row.
      frames: frames of a row with its padding.
      config: number and length of the spans.

    Returns:
      bool `[batch, frames]`, True where a frame is masked.
    """

    def row(key: jax.Array, length: jax.Array) -> jax.Array:
        bits = jax.random.bits(key, (frames + 1,), jnp.uint32)
        index = jnp.arange(frames, dtype=jnp.int32)
        wanted = jnp.floor(config.start_probability * length.astype(jnp.float32) + uniform(bits[0]))
        count = jnp.maximum(wanted.astype(jnp.int32), config.least_spans)
        starts = choose(bits[1:], index <= length - config.span, count)
        begun = cumsum(starts)
        ended = jnp.where(index < config.span, 0, jnp.roll(begun, config.span))
        return begun > ended

    return jax.vmap(row)(jax.random.split(rng, lengths.shape[0]), lengths)


def masked_places(masks: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """The masked frames of each row, in order, as indices of a fixed number.

    Args:
      masks: bool `[batch, frames]`.
      most: `SpanMaskConfig.most_masked`.

    Returns:
      int32 `[batch, most]`, the indices; and bool `[batch, most]`, False where a row has fewer (the index is then 0).
    """

    def row(mask: jax.Array) -> jax.Array:
        index = jnp.arange(mask.shape[0], dtype=jnp.int32)
        return jnp.zeros(most, jnp.int32).at[compaction_indices(mask)].set(index, mode="drop")

    present = jnp.arange(most, dtype=jnp.int32)[None] < masks.sum(1, dtype=jnp.int32)[:, None]
    return jnp.where(present, jax.vmap(row)(masks), 0), present


def draw_negatives(rng: jax.Array, counts: jax.Array, places: int, negatives: int) -> jax.Array:
    """Draws, for every place of a row, negatives among the other places of the same row.

    Each is drawn uniformly, with replacement, from the true places without the place itself (arXiv:2006.11477, section
    3.2). A row with less than two places has no negatives; all its indices are 0.

    Args:
      rng: a key; each row has its own.
      counts: int32 `[batch]`, how many of a row's places are true; they are the first ones.
      places: places of a row with its padding.
      negatives: how many are drawn for each place.

    Returns:
      int32 `[batch, places, negatives]`.
    """

    def row(key: jax.Array, count: jax.Array) -> jax.Array:
        bits = jax.random.bits(key, (places, negatives), jnp.uint32)
        others = jnp.maximum(count - 1, 0)
        drawn = (uniform(bits) * others.astype(jnp.float32)).astype(jnp.int32)
        drawn = jnp.minimum(drawn, jnp.maximum(others - 1, 0))  # a product that was rounded up
        own = jnp.arange(places, dtype=jnp.int32)[:, None]
        return jnp.where(others > 0, drawn + (drawn >= own).astype(jnp.int32), 0)

    return jax.vmap(row)(jax.random.split(rng, counts.shape[0]), counts)
