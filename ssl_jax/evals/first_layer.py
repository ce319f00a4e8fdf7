"""The weights of the first layer of a dense network, as pictures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_jax.evals.plots import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDE = 6
"""Units along each side of a mosaic."""
INCHES = 2.6
"""Width and height of a mosaic."""


def mosaic(kernel: np.ndarray, shape: Sequence[int], side: int = SIDE) -> np.ndarray:
    """The weights of the units whose weights vary most, on one picture with white lines between them.

    Each is scaled by its own largest weight; 0 is the middle grey. Places that are left over are white.

    Args:
      kernel: `[pixels, units]`.
      shape: of an image, `(height, width, channels)`.
      side: units along each side of the picture.

    Returns:
      The picture, float32 `[rows, columns, channels]` in [0, 1].
    """
    height, width, channels = shape
    units = kernel.T.astype(np.float32)
    units = units[np.argsort(-units.std(1), kind="stable")[: side * side]]
    largest = np.abs(units).max(1, keepdims=True)
    units = 0.5 + units / (2 * np.where(largest > 0, largest, 1))
    picture = np.ones((side * (height + 1) - 1, side * (width + 1) - 1, channels), np.float32)
    for place, unit in enumerate(units):
        top, left = place // side * (height + 1), place % side * (width + 1)
        picture[top : top + height, left : left + width] = unit.reshape(shape)
    return picture


def draw_first_layers(kernels: Mapping[str, np.ndarray], shape: Sequence[int]) -> "Figure":
    """A mosaic for each network, side by side.

    Args:
      kernels: by name of the network, `[pixels, units]`.
      shape: of an image, `(height, width, channels)`.
    """
    figure = new_figure((INCHES * len(kernels), INCHES))
    for number, (name, kernel) in enumerate(kernels.items(), 1):
        axes = figure.add_subplot(1, len(kernels), number)
        axes.imshow(mosaic(kernel, shape).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.axis("off")
        axes.set_title(name, fontsize=9)
    return figure
