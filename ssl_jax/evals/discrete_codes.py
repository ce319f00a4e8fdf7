"""What the bits and classes of discrete codes stand for: how often they occur, and the images that show them best."""

from typing import NamedTuple

import numpy as np


def code_bits(kind: str, size: int) -> float:
    """Bits that a code can carry at most: 32 for a real number, 1 for a bit, log2 of the number of classes.

    Args:
      kind: "real", "binary" or "one_hot".
      size: numbers, bits or classes of the code.
    """
    return {"real": 32.0 * size, "binary": float(size), "one_hot": float(np.log2(size))}[kind]


class BitUse(NamedTuple):
    """How often the bits of a binary code are on.

    Attributes:
      shares: `[bits]`, of the images in which each is on.
      order: the bits, those first that are on as often as off.
      varying: how many are neither on nor off in all images.
    """

    shares: np.ndarray
    order: np.ndarray
    varying: int


def bit_use(logits: np.ndarray) -> BitUse:
    """The use of bits that are on where `logits [images, bits]` are above 0."""
    shares = (logits > 0).mean(0)
    constant = int(((shares == 0) | (shares == 1)).sum())
    return BitUse(shares, np.argsort(np.abs(shares - 0.5), kind="stable"), len(shares) - constant)


class BitImages(NamedTuple):
    """Images that show a bit.

    Attributes:
      off, on: `[pixels]`, mean image of those in which the bit is off, and on; grey where there is none.
      change: `[pixels]`, their difference, scaled around the middle grey.
      surely_off, surely_on: int `[examples]`, the images whose logit is the least, and the greatest.
    """

    off: np.ndarray
    on: np.ndarray
    change: np.ndarray
    surely_off: np.ndarray
    surely_on: np.ndarray


def bit_images(logits: np.ndarray, pixels: np.ndarray, examples: int) -> BitImages:
    """The images that show a bit.

    Args:
      logits: `[images]`, of the bit, which is on where they are above 0.
      pixels: `[images, pixels]` in [0, 1].
      examples: how many of the surest images of either kind, at most.
    """
    on = logits > 0
    means = [pixels[side].mean(0) if side.any() else np.full(pixels.shape[1], 0.5) for side in (~on, on)]
    change = means[1] - means[0]
    rising = np.argsort(logits, kind="stable")
    return BitImages(
        *means,
        0.5 + change / (2 * max(np.abs(change).max(), 1e-6)),
        rising[:examples],
        rising[::-1][:examples],
    )


def surest_images(logits: np.ndarray, number: int, examples: int) -> np.ndarray:
    """The images that are most surely of a class, by the margin to the second class; all are of this class.

    Args:
      logits: `[images, classes]`.
      number: of the class.
      examples: how many images, at most.
    """
    margins = logits - np.partition(logits, -2, -1)[:, -2:-1] if logits.shape[1] > 1 else logits
    surest = np.argsort(-margins[:, number], kind="stable")[:examples]
    return surest[logits[surest].argmax(-1) == number]
