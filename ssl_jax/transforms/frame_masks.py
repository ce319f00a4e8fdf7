"""Masks over the frames of speech: runs of frames that are hidden (Mockingjay), stripes (SpecAugment).

All functions are pure functions of a key and of true lengths. A key is for one utterance; `jax.vmap` makes a batch.
"""

import jax
import jax.numpy as jnp

from ssl_jax.transforms.selection import choose

HIDDEN, REPLACED, KEPT = 0, 1, 2
"""What happens to the masked frames of an utterance: they become 0, other frames of it, or stay as they are."""


def run_mask(rng: jax.Array, count: jax.Array, frames: int, *, share: float, run: int) -> jax.Array:
    """Runs of masked frames, whose first frames are drawn without replacement; runs may overlap.

    There are `share * count / run` runs, rounded, and one at least. Each lies wholly in the true frames, and the last
    true frame can be masked. An utterance that is shorter than a run has no masked frame.

    Args:
      rng: key of the utterance.
      count: int32 scalar, its true frames.
      frames: of the padded utterance.
      share: of the true frames, before overlaps.
      run: frames of a run.

    Returns:
      bool `[frames]`.
    """
    place = jnp.arange(frames, dtype=jnp.int32)
    runs = jnp.maximum(jnp.round(share / run * jnp.float32(count)).astype(jnp.int32), 1)
    starts = choose(jax.random.bits(rng, (frames,), jnp.uint32), place <= count - run, runs)
    starts &= place <= count - run
    padded = jnp.pad(starts, (run - 1, 0))
    return jnp.stack([padded[shift : shift + frames] for shift in range(run)]).any(0)


def corrupt_masked(rng: jax.Array, features: jax.Array, mask: jax.Array, count: jax.Array) -> jax.Array:
    """The features with the masked frames hidden (80 %), replaced (10 %) or kept (10 %): one draw for an utterance.

    Args:
      rng: key of the utterance.
      features: `[frames, width]`.
      mask: bool `[frames]`.
      count: int32 scalar, the true frames, from which replacements are drawn.
    """
    coin, source = jax.random.split(rng)
    draw = jax.random.uniform(coin, (), jnp.float32)
    action = jnp.where(draw < 0.8, HIDDEN, jnp.where(draw < 0.9, REPLACED, KEPT))
    place = jax.random.randint(source, mask.shape, 0, jnp.maximum(count, 1), jnp.int32)
    shown = jnp.where(
        action == HIDDEN, jnp.zeros_like(features), jnp.where(action == REPLACED, features[place], features)
    )
    return jnp.where(mask[:, None], shown, features)


def stripes(rng: jax.Array, size: int, extent: jax.Array | int, *, count: int, widest: int) -> jax.Array:
    """SpecAugment's masks along one axis (arXiv:1904.08779): each from 0 to `widest` wide, anywhere in the extent.

    Args:
      rng: key of the utterance.
      size: of the axis: frames, or mel filters.
      extent: int scalar, its true part.
      count: number of stripes.
      widest: largest width.

    Returns:
      bool `[size]`, True where masked.
    """
    widths, places = jax.random.split(rng)
    width = jnp.minimum(jax.random.randint(widths, (count,), 0, widest + 1, jnp.int32), extent)
    start = jnp.floor(
        jax.random.uniform(places, (count,), jnp.float32) * jnp.float32(extent - width + 1)
    ).astype(jnp.int32)
    place = jnp.arange(size, dtype=jnp.int32)[None]
    return ((place >= start[:, None]) & (place < (start + width)[:, None])).any(0)
