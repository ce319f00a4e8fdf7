"""What images were found, and how much of them is left in the canvas that they are stored in, for the log."""

from collections.abc import Iterator

import numpy as np

from ssl_jax.data.image_source import ImageSource
from ssl_jax.data.images import ImageConfig, ImageSplits

LOOKED_AT = 32
"""Images whose own size is read."""
MUCH = 4.0
"""How many times longer than the canvas the images may be without a warning."""


def describe_images(config: ImageConfig, splits: ImageSplits) -> Iterator[str]:
    """Lines about the opened images: how many, of which classes and sizes; and a warning if much of them is lost.

    Args:
      config: of the images.
      splits: what `open_images` has opened.
    """
    train, held = len(splits.train), len(splits.heldout)
    names = splits.classes or splits.train.classes
    shown = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
    classes = f"{len(names)} classes{shown}" if names else "no classes"
    yield (
        f"{splits.train.name}: {train:,} training and {held:,} held-out images ({held / (train + held):.0%} of all), "
        f"{classes}"
    )
    sizes = original_sizes(splits.train)
    if not len(sizes):
        return
    (width, height), channels = median_size(sizes), sizes[:, 2].max()
    grey = channels > config.channels
    longest = max(width, height)
    if longest <= config.canvas and not grey:
        return
    scale = min(1.0, config.canvas / longest)
    stored = f"{max(1, round(width * scale))}x{max(1, round(height * scale))}"
    own = f"{width}x{height} pixels{' in colour' if channels > 1 else ''}"
    left = f"{stored}{' in grey' if config.channels == 1 else ''}"
    yield f"they have {own} (the median of {len(sizes)} looked at), and are stored with {left}"
    if longest > MUCH * config.canvas or grey:
        flags = f" --data.canvas {longest}" if longest > MUCH * config.canvas else ""
        flags += " --data.channels 3" if grey else ""
        yield (
            f"warning: little of these images is left. Give{flags}, and views or a network of a size that suits them, "
            "unless you want them so small"
        )


def original_sizes(source: ImageSource) -> np.ndarray:
    """(width, height, channels) of some images of a source, `[images, 3]`; those that cannot be read are left out."""
    chosen = np.unique(np.linspace(0, len(source) - 1, LOOKED_AT).astype(int))
    originals = (source.original(int(index)) for index in chosen)
    return np.array([original for original in originals if original is not None])


def median_size(sizes: np.ndarray) -> tuple[int, int]:
    """The median width and height of `original_sizes`."""
    width, height = np.median(sizes[:, :2], 0).astype(int)
    return int(width), int(height)
