"""Colours of pictures [height, channels, width] with values in [0, 1]: jitter, grey, solarisation.

The formulas are torchvision's, whose `ColorJitter` the papers use.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, as in Pillow's mode L; torchvision rounds the first to 0.2989 on tensors."""


class Jitter(NamedTuple):
    """A drawn colour jitter; an operation that is None is not compiled.

    Factors of 1 and a hue shift of 0 change nothing.
    """

    brightness: jax.Array | None  # factor
    contrast: jax.Array | None  # factor of the distance to the picture's mean grey
    saturation: jax.Array | None  # factor of the distance to the pixel's grey
    hue: jax.Array | None  # shift in turns of the colour wheel, -0.5 to 0.5
    place: jax.Array  # [4] int32, a permutation: when each of the above has its turn


def luma(picture: jax.Array) -> jax.Array:
    """The grey [height, 1, width] of a picture with 3 channels; one with 1 channel is grey already."""
    if picture.shape[1] == 1:
        return picture
    return sum(weight * picture[:, i : i + 1] for i, weight in enumerate(LUMA))


def jitter_colours(picture: jax.Array, jitter: Jitter) -> jax.Array:
    """Brightness, contrast, saturation and hue in the drawn order, each clipped to [0, 1].

    Where the examples of a batch differ, all branches of a `switch` are computed, so that trying every operation at
    every place would cost sixteen. But three of them are one formula, clip(a * x + b * luma(x) + c * mean(luma(x))).
    So there are three such steps before the hue and three after; each operation uses one on the proper side of the
    hue, and steps that nothing uses change nothing.
    """
    blends = {
        place: jnp.stack(jnp.broadcast_arrays(factor, *others(1 - factor)))
        for place, factor, others in (
            (0, jitter.brightness, lambda rest: (0.0, 0.0)),
            (1, jitter.contrast, lambda rest: (0.0, rest)),
            (2, jitter.saturation, lambda rest: (rest, 0.0)),
        )
        if factor is not None
    }
    if not blends:
        return picture if jitter.hue is None else shift_hue(picture, jitter.hue)
    place = jitter.place[jnp.array(list(blends))]
    order = jnp.sum(place[None] < place[:, None], axis=1)
    turn = order[None] == jnp.arange(len(blends))[:, None]  # [step, operation]
    coefficients = jnp.stack(list(blends.values()))

    def steps(used: jax.Array) -> jax.Array:
        chosen = jnp.sum(jnp.where((turn & used)[..., None], coefficients[None], 0.0), axis=1)
        return jnp.where(jnp.any(turn & used, axis=1)[:, None], chosen, jnp.array([[1.0, 0.0, 0.0]]))

    def blend(picture: jax.Array, step: jax.Array) -> tuple[jax.Array, None]:
        scale, grey, mean = step
        target = jnp.zeros(())
        if jitter.contrast is not None or jitter.saturation is not None:
            target = grey * luma(picture)
        if jitter.contrast is not None:
            target += mean * jnp.mean(luma(picture))
        return jnp.clip(scale * picture + target, 0.0, 1.0), None

    # Loops, because XLA would otherwise compute each step anew for every channel of the next, 3 ** steps times.
    if jitter.hue is None:
        return jax.lax.scan(blend, picture, steps(jnp.array(True)))[0]
    early = (place < jitter.place[3])[None]
    picture, _ = jax.lax.scan(blend, picture, steps(early))
    picture = shift_hue(picture, jitter.hue)
    return jax.lax.scan(blend, picture, steps(~early))[0]


def shift_hue(picture: jax.Array, shift: jax.Array) -> jax.Array:
    """Turns the colour wheel by `shift` turns, in HSV: each pixel's largest and smallest channel stay what they are."""
    red, green, blue = (picture[:, i] for i in range(3))
    largest = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = largest - jnp.minimum(jnp.minimum(red, green), blue)
    per_chroma = 1 / jnp.where(chroma > 0, chroma, 1.0)
    sixths = jnp.where(
        largest == red,
        (green - blue) * per_chroma,
        jnp.where(largest == green, 2 + (blue - red) * per_chroma, 4 + (red - green) * per_chroma),
    )
    # How far each channel's peak is away on the wheel, in sixths of a turn.
    distance = (sixths + 6 * shift)[:, None] + jnp.array([5.0, 3.0, 1.0])[None, :, None]
    distance -= 6 * jnp.floor(distance / 6)
    lowered = chroma[:, None] * jnp.clip(jnp.minimum(distance, 4 - distance), 0.0, 1.0)
    return jnp.where(shift == 0, picture, largest[:, None] - lowered)


def solarise(picture: jax.Array) -> jax.Array:
    """Inverts what is at least half bright."""
    return jnp.where(picture < 0.5, picture, 1 - picture)
