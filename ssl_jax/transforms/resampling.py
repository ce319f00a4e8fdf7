"""Cropping, resizing and rotating pictures as matrix products, which are fast on TPUs; and Gaussian blur.

Pictures are float32 `[height, channels, width]` in this module: with this layout both products of `separable` read
contiguous memory, and elementwise operations are vectorised along the width.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

Interpolation = Literal["bicubic", "bilinear"]

PRECISION = jax.lax.Precision.HIGH
"""The default of a TPU would round weights to 8 bits, half a grey level. Pixel values of 0 to 255 are exact either way.
"""


class Box(NamedTuple):
    """A crop in pixels, int32 scalars. It lies inside the picture and has at least one pixel."""

    top: jax.Array
    left: jax.Array
    height: jax.Array
    width: jax.Array


def separable(picture: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Multiplies the height axis of a picture by one matrix and the width axis by another.

    Args:
      picture: `[height, channels, width]`.
      rows: `[new height, height]`.
      columns: `[new width, width]`.

    Returns:
      `[new height, channels, new width]`.
    """
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
    """The matrix `[size, canvas]` that resizes a crop of a line of `canvas` pixels to `size` pixels.

    The result is that of Pillow's `Image.crop(...).resize(...)`. When shrinking, the filter is widened by the ratio of
    the lengths, which avoids aliasing. Pixels outside the crop have weight 0, and the other weights add up to 1.

    Args:
      start: first pixel of the crop.
      length: pixels of the crop.
      size: pixels of the result.
      canvas: pixels of the line.
      interpolation: filter.
      mirrored: whether the result is mirrored.
      shift: pixels by which the result is then moved; pixels without a source are 0.
    """
    scale = jnp.float32(length) / size
    widening = jnp.maximum(scale, 1.0)
    target = jnp.arange(size, dtype=jnp.int32) - shift
    pixel = jnp.arange(canvas, dtype=jnp.int32)
    source = jnp.where(mirrored, size - 1 - target, target).astype(jnp.float32)
    centre = jnp.float32(start) + (source + 0.5) * scale
    weights = _FILTERS[interpolation](
        jnp.abs(pixel[None].astype(jnp.float32) + 0.5 - centre[:, None]) / widening
    )
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
    """Convolves a picture with a Gaussian that is truncated at `radius` pixels.

    Borders are reflected without repeating the last pixel, as in torchvision. SimCLR's own code pads with zeros, which
    darkens the borders.

    Args:
      picture: `[height, channels, width]`.
      sigma: standard deviation in pixels; 0 changes nothing.
      radius: less than height and width.
    """
    # Shifted sums: the equivalent matrix products take more than twice the time on CPUs.
    taps = jnp.exp(
        -0.5 * jnp.square(jnp.arange(radius + 1, dtype=jnp.float32) / jnp.where(sigma > 0, sigma, 1.0))
    )
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


def rotate(picture: jax.Array, degrees: jax.Array) -> jax.Array:
    """Rotates a picture counter-clockwise about its centre, with bilinear interpolation; pixels from outside are 0.

    The weights have height * width * (height + width) elements, and the work grows with the fourth power of the size.
    It is meant for pictures of a few dozen pixels.

    Args:
      picture: `[height, channels, width]`.
      degrees: angle.
    """
    height, _, width = picture.shape
    y = jnp.arange(height, dtype=jnp.float32) - (height - 1) / 2
    x = jnp.arange(width, dtype=jnp.float32) - (width - 1) / 2
    angle = jnp.deg2rad(degrees)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source_y = sin * x[None, :] + cos * y[:, None]
    source_x = cos * x[None, :] - sin * y[:, None]
    rows = _triangle(jnp.abs(source_y[..., None] - y[None, None]))
    columns = _triangle(jnp.abs(source_x[..., None] - x[None, None]))
    across = jnp.einsum("ikw,jcw->ikjc", columns, picture, precision=PRECISION)
    return jnp.einsum("ikj,ikjc->ick", rows, across, precision=PRECISION)
