"""Finite scalar quantisation: each channel is bounded and rounded to a few levels (arXiv:2309.15505)."""

import dataclasses
import math
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.domains import Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.models.quantization.straight_through import Quantized, check_width, straight_through

MOST_CODES = 2**31 - 1
"""What an int32 can number."""


@dataclasses.dataclass(frozen=True)
class FsqConfig(Settings):
    """Finite scalar quantisation (arXiv:2309.15505). The paper's choices (table 1) for 2^8, 2^10, 2^12, 2^14 and 2^16
    codes are (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5) and (8, 8, 8, 5, 5, 5)."""

    levels: tuple[Annotated[int, integers(2, 2**16)], ...] = (8, 5, 5, 5)
    """Number of values of each channel; the number of codes is their product."""

    def check_relations(self) -> None:
        if not self.levels or self.codes > MOST_CODES:
            raise UserError(
                f"fsq.levels {self.levels} must be one or more numbers of at least 2, with a product of at most "
                f"{MOST_CODES:,}; the paper advises 5 or more each, such as 8 5 5 5."
            )

    @property
    def width(self) -> int:
        """Number of channels."""
        return len(self.levels)

    @property
    def codes(self) -> int:
        """Number of codes."""
        return math.prod(self.levels)


def fsq(config: FsqConfig, x: jax.Array) -> Quantized:
    """Bounds each channel and rounds it to one of its levels (arXiv:2309.15505, section 3.1 and appendix A.1).

    Args:
      config: the levels.
      x: `[..., channels]`, any float type; the unbounded output of an encoder.

    Returns:
      Vectors within [-1, 1]: the values of a channel of L levels are `(i - L // 2) / (L // 2)` for i from 0 to L - 1.
      The gradient of the rounding is the identity; the bound has its true gradient.

    Raises:
      UserError: `x` does not have as many channels as there are levels.
    """
    check_width("finite scalar quantisation", x, config.width, "fsq.levels")
    middle = _along(np.asarray(config.levels) // 2, x)
    bounded = bound(config, x)
    levels = straight_through(jnp.round(bounded), bounded)
    codes = jnp.sum((levels + middle).astype(jnp.int32) * _along(_places(config), x), -1)
    return Quantized((levels / middle).astype(x.dtype), codes)


def bound(config: FsqConfig, x: jax.Array) -> jax.Array:
    """Squashes `x [..., channels]`, in float32, to where rounding gives the levels: -(L // 2) to (L - 1) // 2."""
    levels = np.asarray(config.levels)
    # A little less than half the range, so that rounding never leaves it.
    half = (levels - 1) * (1 - 1e-3) / 2
    # An even number of levels has none in the middle: half a level lower, all of them are integers.
    offset = np.where(levels % 2 == 0, 0.5, 0.0)
    # So that 0 stays 0, nearly: tan, as in the paper, is atanh to the fourth order, and finite for 2 levels too.
    shift = np.tan(offset / half)
    half, offset, shift = (_along(v.astype(np.float32), x) for v in (half, offset, shift))
    return jnp.tanh(x.astype(jnp.float32) + shift) * half - offset


def fsq_vectors(config: FsqConfig, codes: jax.Array) -> jax.Array:
    """The vectors of codes, the inverse of the codes of `fsq`: `[...]` to float32 `[..., channels]`."""
    levels = np.asarray(config.levels, np.int32)
    column = codes[..., None]
    digits = column // _along(_places(config), column) % _along(levels, column)
    middle = _along(levels // 2, column)
    return (digits - middle).astype(jnp.float32) / middle.astype(jnp.float32)


def _places(config: FsqConfig) -> np.ndarray:
    """The place value of each channel in a code; the first channel is the least significant digit."""
    return np.cumprod((1, *config.levels[:-1])).astype(np.int32)


def _along(values: np.ndarray, x: jax.Array) -> jax.Array:
    """`values [channels]` with as many axes as `x`."""
    return jnp.asarray(values).reshape((1,) * (x.ndim - 1) + (-1,))
