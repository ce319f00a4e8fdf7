"""Cropping, resizing and turning pictures as products with matrices, which is what TPUs are good at; and blurring.

Pictures are [height, channels, width] float32 in here: both products of `separable` then run over the memory as it
lies, and whatever is done per pixel runs along the width.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Interpolation = Literal["bicubic", "bilinear"]

PRECISION = jax.lax.Precision.HIGH
"""A TPU's default would round weights to 8 bits, half a grey level; pixels of 0 to 255 are exact under both."""


class Box(NamedTuple):
    """A crop: pixels as int32 scalars; it lies inside the picture and holds at least one pixel."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def separable(picture: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """rows [new height, height] and columns [new width, width] applied to [height, channels, width]."""
    tall = jnp.einsum("ij,jcw->icw", rows, picture, precision=PRECISION)
    return jnp.einsum("kw,icw->ick", columns, tall, precision=PRECISION)


def resize_weights(
    start: jax.Array,
    length: jax.Array,
    size: int,
    canvas: int,
    interpolation: Interpolation,
    *,
    mirrored: jax.Array | bool = False,
    shift: jax.Array | int = 0,
) -> jax.Array:
    """[size, canvas]: the matrix that resizes pixels start to start + length of a line of `canvas` pixels to `size`.

    As Pillow's `Image.crop(...).resize(...)`: when shrinking, the filter is as much wider as the line is longer, so
    that nothing is aliased; pixels outside the crop have no weight, and the others' add up to 1. The result can be
    `mirrored`, and then moved on by `shift` pixels; what has no source there is 0.
    """
    scale = length / size
    widening = jnp.maximum(scale, 1.0)
    target = jnp.arange(size) - shift
    pixel = jnp.arange(canvas)
    centre = start + (jnp.where(mirrored, size - 1 - target, target) + 0.5) * scale
    weights = _FILTERS[interpolation](jnp.abs(pixel[None] + 0.5 - centre[:, None]) / widening)
    weights = jnp.where((pixel >= start) & (pixel < start + length), weights, 0.0)
    weights /= jnp.sum(weights, axis=1, keepdims=True)
    return jnp.where(((target >= 0) & (target < size))[:, None], weights, 0.0)


def _triangle(distance: jax.Array) -> jax.Array:
    return jnp.maximum(1 - distance, 0)


def _cubic(distance: jax.Array) -> jax.Array:
    """Keys' convolution kernel with a = -0.5, as in Pillow."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def blur(picture: jax.Array, sigma: jax.Array, radius: int) -> jax.Array:
    """Convolves [height, channels, width] with a Gaussian of `sigma` pixels, cut off after `radius` pixels.

    Borders reflect without repeating the last pixel, as torchvision's do; SimCLR's own code pads with zeros, which
    darkens them. The radius must be less than height and width. Sigma 0 changes nothing.
    """
    # Shifted sums, as the products with matrices that do the same take more than twice the time on CPUs.
    taps = jnp.exp(-0.5 * jnp.square(jnp.arange(radius + 1) / jnp.where(sigma > 0, sigma, 1.0)))
    taps = jnp.where(sigma > 0, taps, jnp.arange(radius + 1) == 0)
    taps /= 2 * jnp.sum(taps) - taps[0]
    picture = jnp.pad(picture, ((radius, radius), (0, 0), (radius, radius)), mode="reflect")
    for axis in (0, 2):
        size = picture.shape[axis] - 2 * radius
        moved = [jax.lax.slice_in_dim(picture, i, i + size, axis=axis) for i in range(2 * radius + 1)]
        picture = taps[0] * moved[radius]
        for i in range(1, radius + 1):
            picture += taps[i] * (moved[radius - i] + moved[radius + i])
    return picture


def turn(picture: jax.Array, degrees: jax.Array) -> jax.Array:
    """Turns [height, channels, width] counter-clockwise about its centre, bilinearly; what lies outside is 0.

    The weights are height * width * (height + width) numbers, and the work grows with the fourth power of the size:
    meant for pictures of a few dozen pixels.
    """
    height, _, width = picture.shape
    y = jnp.arange(height) - (height - 1) / 2
    x = jnp.arange(width) - (width - 1) / 2
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source_y = sin * x[None, :] + cos * y[:, None]
    source_x = cos * x[None, :] - sin * y[:, None]
    rows = _triangle(jnp.abs(source_y[..., None] - y[None, None]))
    columns = _triangle(jnp.abs(source_x[..., None] - x[None, None]))
    across = jnp.einsum("ikw,jcw->ikjc", columns, picture, precision=PRECISION)
    return jnp.einsum("ikj,ikjc->ick", rows, across, precision=PRECISION)
