"""Colour operations on pictures `[height, channels, width]` with values in [0, 1]: jitter, grayscale, solarisation.

The formulas are those of torchvision, whose `ColorJitter` the papers use.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601 weights, as in Pillow's mode L. On tensors, torchvision rounds the first one to 0.2989."""


class Jitter(NamedTuple):
    """The random parameters of a colour jitter.

    An operation that is None is not compiled. Factors of 1 and a hue shift of 0 change nothing.

    Attributes:
      brightness: factor.
      contrast: factor of the distance to the picture's mean grey.
      saturation: factor of the distance to each pixel's grey.
      hue: shift in turns of the colour wheel, -0.5 to 0.5.
      rank: int32 `[4]`, a permutation: the rank of each of these operations in the order in which they are applied.
    """

    brightness: jax.Array | None
    contrast: jax.Array | None
    saturation: jax.Array | None
    hue: jax.Array | None
    rank: jax.Array


def luma(picture: jax.Array) -> jax.Array:
    """Converts to grayscale, `[height, 1, width]`. A picture with 1 channel is returned unchanged."""
    if picture.shape[1] == 1:
        return picture
    return sum(weight * picture[:, i : i + 1] for i, weight in enumerate(LUMA))


def jitter_colours(picture: jax.Array, jitter: Jitter) -> jax.Array:
    """Applies brightness, contrast, saturation and hue in the drawn order; each result is clipped to [0, 1].

    Under `vmap`, all branches of a `switch` are computed, so that trying every operation at every rank would cost
    sixteen operations. But three of the four are one formula, clip(a * x + b * luma(x) + c * mean(luma(x))). Therefore
    three such steps are compiled before the hue shift and three after it. Each operation uses one step on the correct
    side of the hue shift; unused steps are the identity.
    """
    blends = {
        rank: jnp.stack(jnp.broadcast_arrays(factor, *others(1 - factor)))
        for rank, factor, others in (
            (0, jitter.brightness, lambda rest: (0.0, 0.0)),
            (1, jitter.contrast, lambda rest: (0.0, rest)),
            (2, jitter.saturation, lambda rest: (rest, 0.0)),
        )
        if factor is not None
    }
    if not blends:
        return picture if jitter.hue is None else shift_hue(picture, jitter.hue)
    rank = jitter.rank[jnp.array(list(blends))]
    order = jnp.sum(rank[None] < rank[:, None], axis=1, dtype=jnp.int32)
    applied = order[None] == jnp.arange(len(blends), dtype=jnp.int32)[:, None]  # [step, operation]
    coefficients = jnp.stack(list(blends.values()))

    def steps(used: jax.Array) -> jax.Array:
        chosen = jnp.sum(jnp.where((applied & used)[..., None], coefficients[None], 0.0), axis=1)
        return jnp.where(
            jnp.any(applied & used, axis=1)[:, None], chosen, jnp.array([[1.0, 0.0, 0.0]], jnp.float32)
        )

    def blend(picture: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
        scale, grey, mean = step
        target = jnp.float32(0)
        if jitter.contrast is not None or jitter.saturation is not None:
            target = grey * luma(picture)
        if jitter.contrast is not None:
            target += mean * jnp.mean(luma(picture))
        return jnp.clip(scale * picture + target, 0.0, 1.0), None

    # A loop, because XLA would otherwise recompute each step for every channel of the next one, 3 ** steps times.
    if jitter.hue is None:
        return jax.lax.scan(blend, picture, steps(jnp.array(True)))[0]
    early = (rank < jitter.rank[3])[None]
    picture, _ = jax.lax.scan(blend, picture, steps(early))
    picture = shift_hue(picture, jitter.hue)
    return jax.lax.scan(blend, picture, steps(~early))[0]


def shift_hue(picture: jax.Array, shift: jax.Array) -> jax.Array:
    """Rotates the hue of each pixel by `shift` turns in HSV.

    The largest and the smallest value among the pixel's channels do not change.
    """
    red, green, blue = (picture[:, i] for i in range(3))
    largest = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = largest - jnp.minimum(jnp.minimum(red, green), blue)
    per_chroma = 1 / jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        largest == red,
        (green - blue) * per_chroma,
        jnp.where(largest == green, 2 + (blue - red) * per_chroma, 4 + (red - green) * per_chroma),
    )
    # Distance to each channel's peak on the colour wheel, in sixths of a turn.
    distance = (sixths + 6 * shift)[:, None] + jnp.array([5.0, 3.0, 1.0], jnp.float32)[None, :, None]
    distance -= 6 * jnp.floor(distance / 6)
    lowered = chroma[:, None] * jnp.clip(jnp.minimum(distance, 4 - distance), 0.0, 1.0)
    return jnp.where(shift == 0, picture, largest[:, None] - lowered)


def solarise(picture: jax.Array) -> jax.Array:
    """Inverts values of at least 0.5."""
    return jnp.where(picture < 0.5, picture, 1 - picture)
