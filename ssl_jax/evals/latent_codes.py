"""Codes of a variational autoencoder whose images show what was learnt, and which numbers of a code are used."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

ACTIVE = 0.01
"""Nats that a number of the code must tell of an image in the mean, to count as active."""


class CodeActivity(NamedTuple):
    """What each number of a code tells of an image.

    Attributes:
      nats: `[code_size]`, means over images of the divergence from the prior.
      order: the numbers of the code, the most telling first.
      active: how many tell more than `ACTIVE` nats.
    """

    nats: np.ndarray
    order: np.ndarray
    active: int


def code_activity(divergences: np.ndarray) -> CodeActivity:
    """The activity of a code by its divergences from the prior, nats `[images, code_size]`."""
    nats = divergences.mean(0)
    return CodeActivity(nats, np.argsort(-nats, kind="stable"), int((nats > ACTIVE).sum()))


def prior_codes(count: int, code_size: int, seed: int) -> np.ndarray:
    """Codes `[count, code_size]` drawn from the prior, a standard normal distribution."""
    return np.random.default_rng(seed).normal(size=(count, code_size))


def interpolations(codes: np.ndarray, steps: int) -> np.ndarray:
    """Codes `[pairs, steps, code_size]` on the lines from the first code to the second, the third to the fourth, ...

    Args:
      codes: `[codes, code_size]`; the last of an odd number is left out.
      steps: codes on each line, with both ends.
    """
    pairs = codes[: len(codes) // 2 * 2]
    share = np.linspace(0, 1, steps)[:, None]
    lines = [(1 - share) * start + share * end for start, end in zip(pairs[::2], pairs[1::2], strict=True)]
    return np.stack(lines) if lines else np.zeros((0, steps, codes.shape[1]))


def latent_plane(base: np.ndarray, coordinates: np.ndarray, side: int) -> np.ndarray:
    """Codes like `base` in which one or two numbers take the quantiles of the prior.

    The quantiles lie in the middles of `side` parts of the prior of equal mass (arXiv:1312.6114, figure 4).

    Args:
      base: `[code_size]`.
      coordinates: one or two numbers of the code.
      side: quantiles of each.

    Returns:
      `[side^coordinates, code_size]`; the second coordinate runs fastest.
    """
    quantiles = ndtri((np.arange(side) + 0.5) / side)
    places = np.stack(np.meshgrid(*[quantiles] * len(coordinates), indexing="ij"), -1)
    codes = np.tile(base, (side ** len(coordinates), 1)).astype(np.float64)
    codes[:, coordinates] = places.reshape(-1, len(coordinates))
    return codes
