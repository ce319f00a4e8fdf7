"""Random views of images, computed on the device inside the training step, so that views differ in every epoch.

The augmentations are those of SimCLR (arXiv:2002.05709) and BYOL (arXiv:2006.07733), in BYOL's order: crop, flip and
translation, rotation, colour jitter, grayscale, blur, solarisation. `draw_view` draws all random parameters and
`apply_view` applies them. The view of an example is a function of its key, image and extent, and does not depend on the
number of devices.

Images are uint8 `[canvas, canvas, channels]` with 1 or 3 channels. The picture is the upper left part, of size `extent`
(height, width). Views are float32 `[size, size, channels]` in [0, 1].

The codes of the papers differ from this one, and from each other, in four places:

- Pixels are in [0, 1], as in google-research/simclr. The others subtract the mean and divide by the deviation of each
  channel. Before a normalised convolution, that is another scale of the kernel at the start, and another border.
- Brightness is a factor, as in torchvision and in the current code of google-research/simclr. In SimCLR's first version
  and in deepmind-research/byol it is a number that is added.
- A crop is resized with the filter `interpolation`, which is widened where the crop is shrunk, as Pillow does.
  TensorFlow's bicubic filter, of SimCLR and BYOL, is not widened.
- The kernel of the blur is a tenth of the view wide, as in SimCLR and BYOL. Pillow's, of the others, is not cut off.
"""

import dataclasses
import functools
import math
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.domains import Pixels, PositiveShare, Probability, Settings, numbers
from ssl_jax.errors import UserError
from ssl_jax.transforms.colour import Jitter, jitter_colours, luma, solarise
from ssl_jax.transforms.resampling import (
    Box,
    Interpolation,
    blur,
    resize_weights,
    rotate,
    separable,
)

ATTEMPTS = 10
"""Number of random crops that are tried before the central crop is used."""
BOX_DRAWS = 4 * ATTEMPTS
JITTER_DRAWS = 9

_Strength = Annotated[float, numbers(0, 100)]
_Ratio = Annotated[float, numbers(0.01, 100)]
_Deviation = Annotated[float, numbers(0, 100, above=True)]


@dataclasses.dataclass(frozen=True)
class ViewConfig(Settings):
    """The distribution of random views; the defaults are SimCLR's for ImageNet.

    Operations with probability or strength 0 are not compiled. With 1 channel, saturation, hue and grayscale have no
    effect.
    """

    size: Pixels = 224
    """Height and width of a view in pixels."""
    centre: PositiveShare = 1.0
    """Side of the central crop for evaluation, as a share of the shorter side; 0.875 in the papers for ImageNet."""
    crop_area: tuple[PositiveShare, PositiveShare] = (0.08, 1.0)
    """Smallest and largest area of the crop, as a share of the picture's area."""
    crop_ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3)
    """Smallest and largest width of the crop, divided by its height."""
    interpolation: Interpolation = "bicubic"
    """Filter that resizes the crop."""
    flip: Probability = 0.5
    """Probability of a horizontal flip."""
    jitter: Probability = 0.8
    """Probability of the colour jitter: the four operations below, in random order."""
    brightness: _Strength = 0.8
    """Brightness is multiplied by a factor between 1 minus and 1 plus this value."""
    contrast: _Strength = 0.8
    """The same for the distance to the mean grey."""
    saturation: _Strength = 0.8
    """The same for the distance to each pixel's grey."""
    hue: Annotated[float, numbers(0, 0.5)] = 0.2
    """Largest shift of the hue, in turns of the colour wheel, at most 0.5."""
    grayscale: Probability = 0.2
    """Probability of the conversion to grayscale."""
    blur: Probability = 0.5
    """Probability of a Gaussian blur. Its kernel is a tenth of the view wide, but at least 3 pixels."""
    blur_sigma: tuple[_Deviation, _Deviation] = (0.1, 2.0)
    """Smallest and largest standard deviation of the blur, in pixels."""
    solarise: Probability = 0.0
    """Probability of solarisation, which inverts pixel values of at least 0.5."""
    translate: Probability = 0.0
    """Largest translation along each axis, as a share of the size; for small images."""
    rotate: Annotated[float, numbers(0, 180)] = 0.0
    """Largest angle in degrees; for small images, because the work grows with the fourth power of the size."""

    def check_relations(self) -> None:
        for name in ("crop_area", "crop_ratio", "blur_sigma"):
            low, high = getattr(self, name)
            if low > high:
                raise UserError(
                    f"views.{name} {low} {high} must be the smallest and the largest value, in this order."
                )


class View(NamedTuple):
    """The random parameters of a view, all scalars; None for operations that the configuration turns off.

    Attributes:
      box: crop.
      flip: bool, whether the view is mirrored.
      shift: int32 `[2]`, pixels down and to the right.
      angle: degrees, counter-clockwise.
      jitter: of colours.
      grayscale: bool.
      sigma: standard deviation of the blur in pixels; 0 for no blur.
      solarise: bool.
    """

    box: Box
    flip: jax.Array | None
    shift: jax.Array | None
    angle: jax.Array | None
    jitter: Jitter | None
    grayscale: jax.Array | None
    sigma: jax.Array | None
    solarise: jax.Array | None


def random_views(rng: jax.Array, images: jax.Array, extents: jax.Array, config: ViewConfig) -> jax.Array:
    """Draws and applies one random view per image.

    Args:
      rng: a key, which is split for the images.
      images: uint8 `[batch, canvas, canvas, channels]`.
      extents: int32 `[batch, 2]`.
      config: distribution of the views.

    Returns:
      float32 `[batch, size, size, channels]`.
    """
    view = functools.partial(random_view, config=config)
    return jax.vmap(view)(jax.random.split(rng, images.shape[0]), images, extents)


def random_view(rng: jax.Array, image: jax.Array, extent: jax.Array, config: ViewConfig) -> jax.Array:
    """A random view `[size, size, channels]` of an image `[canvas, canvas, channels]` with `extent [2]`."""
    return apply_view(image, draw_view(rng, extent, image.shape[-1], config), config)


def draw_view(rng: jax.Array, extent: jax.Array, channels: int, config: ViewConfig) -> View:
    """Draws the random parameters of a view of a picture with this extent and number of channels."""
    # One draw: each split of a key costs as much as many random numbers, and a second of compilation.
    draws = jax.random.uniform(rng, (BOX_DRAWS + JITTER_DRAWS + 8,), jnp.float32)
    box_draws, jitter_draws, draws = jnp.split(draws, (BOX_DRAWS, BOX_DRAWS + JITTER_DRAWS))
    flip, down, right, angle, grayscale, blur, sigma, solarise = draws
    shift = config.translate * config.size * (2 * jnp.stack([down, right]) - 1)
    coloured = channels == 3
    return View(
        box=draw_box(box_draws, extent, config),
        flip=flip < config.flip if config.flip else None,
        shift=jnp.round(shift).astype(jnp.int32) if config.translate else None,
        angle=config.rotate * (2 * angle - 1) if config.rotate else None,
        jitter=draw_jitter(jitter_draws, channels, config) if config.jitter else None,
        grayscale=grayscale < config.grayscale if config.grayscale and coloured else None,
        sigma=jnp.where(blur < config.blur, _between(sigma, config.blur_sigma), 0.0) if config.blur else None,
        solarise=solarise < config.solarise if config.solarise else None,
    )


def draw_box(draws: jax.Array, extent: jax.Array, config: ViewConfig) -> Box:
    """Maps `BOX_DRAWS` uniform numbers to a crop with the distribution of torchvision's `RandomResizedCrop`.

    The share of the area is uniform, and so is the logarithm of the aspect ratio. The first of `ATTEMPTS` draws that
    fits into the picture is placed uniformly. If none fits, the crop is the largest central box with an allowed ratio.
    """
    area, ratio, down, right = jnp.split(draws, 4)
    height, width = jnp.maximum(extent[0], 1), jnp.maximum(extent[1], 1)
    area = _between(area, config.crop_area) * (height * width).astype(jnp.float32)
    ratio = jnp.exp(_between(ratio, tuple(map(math.log, config.crop_ratio))))
    heights = jnp.round(jnp.sqrt(area / ratio)).astype(jnp.int32)
    widths = jnp.round(jnp.sqrt(area * ratio)).astype(jnp.int32)
    fits = (heights >= 1) & (heights <= height) & (widths >= 1) & (widths <= width)
    first = jnp.argmax(fits)
    box_height, box_width = heights[first], widths[first]
    top, left = (
        jnp.floor(u[first] * (margin + 1).astype(jnp.float32)).astype(jnp.int32)
        for u, margin in ((down, height - box_height), (right, width - box_width))
    )

    low, high = config.crop_ratio
    fallback_height = jnp.minimum(
        height, jnp.maximum(jnp.round(width.astype(jnp.float32) / low).astype(jnp.int32), 1)
    )
    fallback_width = jnp.minimum(
        width, jnp.maximum(jnp.round(height.astype(jnp.float32) * high).astype(jnp.int32), 1)
    )
    fallback = Box(
        (height - fallback_height) // 2, (width - fallback_width) // 2, fallback_height, fallback_width
    )
    drawn = Box(top, left, box_height, box_width)
    return jax.tree.map(functools.partial(jnp.where, jnp.any(fits)), drawn, fallback)


def draw_jitter(draws: jax.Array, channels: int, config: ViewConfig) -> Jitter:
    """Maps `JITTER_DRAWS` uniform numbers to a colour jitter; factors and the order of operations are uniform."""
    applied = draws[0] < config.jitter

    def factor(u: jax.Array, strength: float) -> jax.Array | None:
        drawn = _between(u, (max(0.0, 1 - strength), 1 + strength))
        return jnp.where(applied, drawn, 1.0) if strength else None

    coloured = channels == 3
    return Jitter(
        brightness=factor(draws[1], config.brightness),
        contrast=factor(draws[2], config.contrast),
        saturation=factor(draws[3], config.saturation) if coloured else None,
        hue=jnp.where(applied, config.hue * (2 * draws[4] - 1), 0.0) if config.hue and coloured else None,
        rank=_ranks(draws[5:]),
    )


def _between(u: jax.Array, bounds: tuple[float, float]) -> jax.Array:
    return bounds[0] + (bounds[1] - bounds[0]) * u


def _ranks(values: jax.Array) -> jax.Array:
    """The rank of each value, int32. Ties are ranked by index, so that the result is always a permutation."""
    index = jnp.arange(len(values), dtype=jnp.int32)
    equal = (values[None] == values[:, None]) & (index[None] < index[:, None])
    return jnp.sum((values[None] < values[:, None]) | equal, axis=1, dtype=jnp.int32)


def apply_view(image: jax.Array, view: View, config: ViewConfig) -> jax.Array:
    """Applies drawn parameters to an image `[canvas, canvas, channels]`.

    Returns:
      the view, float32 `[size, size, channels]`.
    """
    size, box = config.size, view.box
    down, right = (0, 0) if view.shift is None else view.shift
    mirrored = False if view.flip is None else view.flip
    rows = resize_weights(box.top, box.height, size, image.shape[0], config.interpolation, shift=down)
    columns = resize_weights(
        box.left, box.width, size, image.shape[1], config.interpolation, mirrored=mirrored, shift=right
    )
    picture = jnp.clip(separable(_to_planes(image), rows, columns) / 255, 0.0, 1.0)
    if view.angle is not None:
        picture = rotate(picture, view.angle)
    if view.jitter is not None:
        picture = jitter_colours(picture, view.jitter)
    if view.grayscale is not None:
        picture = jnp.where(view.grayscale, luma(picture), picture)
    if view.sigma is not None:
        picture = jnp.clip(blur(picture, view.sigma, max(size // 10 // 2, 1)), 0.0, 1.0)
    if view.solarise is not None:
        picture = jnp.where(view.solarise, solarise(picture), picture)
    return _from_planes(picture)


def plain_view(
    images: jax.Array,
    extents: jax.Array,
    size: int,
    crop: float = 1.0,
    interpolation: Interpolation = "bicubic",
) -> jax.Array:
    """Deterministic views for evaluation: the central square crop, resized.

    A picture that already has the right size is only divided by 255.

    Args:
      images: uint8 `[batch, canvas, canvas, channels]`.
      extents: int32 `[batch, 2]`.
      size: side of a view in pixels.
      crop: side of the crop as a share of the shorter side. ImageNet's usual value is 0.875, 224 of 256 pixels.
      interpolation: filter.

    Returns:
      float32 `[batch, size, size, channels]`.
    """

    def view(image: jax.Array, extent: jax.Array) -> jax.Array:
        height, width = jnp.maximum(extent[0], 1), jnp.maximum(extent[1], 1)
        side = jnp.maximum(
            jnp.round(crop * jnp.minimum(height, width).astype(jnp.float32)).astype(jnp.int32), 1
        )
        rows = resize_weights((height - side) // 2, side, size, image.shape[0], interpolation)
        columns = resize_weights((width - side) // 2, side, size, image.shape[1], interpolation)
        return _from_planes(jnp.clip(separable(_to_planes(image), rows, columns) / 255, 0.0, 1.0))

    return jax.vmap(view)(images, extents)


def rotate90(images: jax.Array, quarter_turns: jax.Array) -> jax.Array:
    """Rotates each image counter-clockwise by quarter turns, like `numpy.rot90`.

    Args:
      images: `[batch, size, size, channels]`.
      quarter_turns: int32 `[batch]`.
    """
    turns = quarter_turns[:, None, None, None]
    images = jnp.where(turns & 2, images[:, ::-1, ::-1], images)
    return jnp.where(turns & 1, jnp.swapaxes(images, 1, 2)[:, ::-1], images)


def _to_planes(image: jax.Array) -> jax.Array:
    return jnp.swapaxes(image, 1, 2).astype(jnp.float32)


def _from_planes(picture: jax.Array) -> jax.Array:
    return jnp.swapaxes(picture, 1, 2)
