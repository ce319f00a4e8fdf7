"""Discrete codes: what they have in common, and those that need no codebook. ssl_jax/models/codebook.py has the others.

Every quantiser works on the last axis of an array, `[..., width]`: images `[batch, height, width, channels]`, sequences
`[batch, length, channels]` or plain vectors. Rounding has no slope, so that all of them pass the gradient of their
output on to their input ("straight through", Bengio, Léonard & Courville 2013, arXiv:1308.3432).
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.errors import UserError

MOST_CODES = 2**31 - 1
"""What an int32 can number."""


class Quantized(NamedTuple):
    """vectors: `[..., width]`, for a decoder. codes: int32 `[...]`, the number of each, for a prior or a file."""

    vectors: jax.Array
    codes: jax.Array


def straight_through(value: jax.Array, x: jax.Array) -> jax.Array:
    """`value` to the bit, with the gradient of `x`; both of one shape. The dtype is that of `x`."""
    # x - x is exactly 0, while x + (value - x) is rounded.
    return jax.lax.stop_gradient(value.astype(x.dtype)) + (x - jax.lax.stop_gradient(x))


@dataclasses.dataclass(frozen=True)
class FsqConfig:
    """Finite scalar quantisation (arXiv:2309.15505). The paper's choices (table 1) for 2^8, 2^10, 2^12, 2^14 and 2^16
    codes: (8, 6, 5), (8, 5, 5, 5), (7, 5, 5, 5, 5), (8, 8, 8, 6, 5) and (8, 8, 8, 5, 5, 5)."""

    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Values that each channel can take; the number of codes is their product."""

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 2 or self.codes > MOST_CODES:
            raise UserError(
                f"fsq.levels {self.levels} must be one or more numbers of at least 2, with a product of at most "
                f"{MOST_CODES:,}; the paper advises 5 or more each, such as 8 5 5 5."
            )

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.levels)

    @property
    def codes(self) -> int:
        """Size of the implicit codebook."""
        return math.prod(self.levels)


def finite_scalar(config: FsqConfig, x: jax.Array) -> Quantized:
    """Each channel is bounded and rounded to one of its levels (arXiv:2309.15505, 3.1 and appendix A.1).

    Args:
        x: `[..., channels]`, any float type; what an encoder gives, unbounded.

    Returns:
        Vectors within [-1, 1], where a channel of L levels has those of `(i - L // 2) / (L // 2)`, i from 0 to L - 1.
        The gradient of the rounding is the identity, that of the bound is its own.

    Raises:
        UserError: `x` does not have as many channels as there are levels.
    """
    check_width("finite scalar quantisation", x, config.width, "fsq.levels")
    middle = _along(np.asarray(config.levels) // 2, x)
    levels = round_through(bound(config, x))
    codes = jnp.sum((levels + middle).astype(jnp.int32) * _along(_places(config), x), -1)
    return Quantized((levels / middle).astype(x.dtype), codes)


def bound(config: FsqConfig, x: jax.Array) -> jax.Array:
    """`x [..., channels]` squashed, in float32, to where rounding gives the levels: -(L // 2) to (L - 1) // 2."""
    levels = np.asarray(config.levels)
    # A little less than half the range, so that rounding never leaves it.
    half = (levels - 1) * (1 - 1e-3) / 2
    # An even number of levels has none in the middle: half a level lower, all of them are integers.
    offset = np.where(levels % 2 == 0, 0.5, 0.0)
    # So that 0 stays 0, nearly: tan, as in the paper, is atanh to the fourth order, and finite for 2 levels too.
    shift = np.tan(offset / half)
    half, offset, shift = (_along(v.astype(np.float32), x) for v in (half, offset, shift))
    return jnp.tanh(x.astype(jnp.float32) + shift) * half - offset


def round_through(x: jax.Array) -> jax.Array:
    """The nearest integer, with the gradient of `x`."""
    return straight_through(jnp.round(x), x)


def finite_scalar_vectors(config: FsqConfig, codes: jax.Array) -> jax.Array:
    """float32 `[..., channels]`, the vectors of `codes [...]`: the inverse of the codes of `finite_scalar`."""
    levels = np.asarray(config.levels, np.int32)
    column = codes[..., None]
    digits = column // _along(_places(config), column) % _along(levels, column)
    middle = _along(levels // 2, column)
    return (digits - middle).astype(jnp.float32) / middle.astype(jnp.float32)


def _places(config: FsqConfig) -> np.ndarray:
    """What a step of each channel adds to the code; the first channel runs fastest."""
    return np.cumprod((1, *config.levels[:-1])).astype(np.int32)


def _along(values: np.ndarray, x: jax.Array) -> jax.Array:
    """`values [channels]` with the axes of `x`."""
    return jnp.asarray(values).reshape((1,) * (x.ndim - 1) + (-1,))


def lookup_free(x: jax.Array) -> Quantized:
    """Each channel becomes its sign, -1 or 1, and a bit of the code (MAGVIT-v2, arXiv:2310.05737, 3.1).

    `ssl_jax.losses.quantization.entropy_penalty` keeps the codes in use.

    Args:
        x: `[..., bits]`, any float type.

    Returns:
        Vectors of -1 (0 and below) and 1; the first channel is the lowest bit of the code.

    Raises:
        UserError: more than 31 channels.
    """
    check_bits("lookup-free quantisation", x.shape[-1])
    bits = x > 0
    return Quantized(straight_through(jnp.where(bits, 1.0, -1.0), x), bits_to_codes(bits))


def lookup_free_vectors(codes: jax.Array, width: int) -> jax.Array:
    """float32 `[..., width]` of -1 and 1, the vectors of `codes [...]`."""
    return 2 * codes_to_bits(codes, width).astype(jnp.float32) - 1


def bits_to_codes(bits: jax.Array) -> jax.Array:
    """int32 `[...]`, the number that the bits `[..., bits]`, bool or 0 and 1, are written as, the lowest first."""
    places = jnp.left_shift(1, jax.lax.broadcasted_iota(jnp.int32, bits.shape, bits.ndim - 1))
    return jnp.sum(jnp.where(bits > 0, places, 0), axis=-1)


def codes_to_bits(codes: jax.Array, width: int) -> jax.Array:
    """int32 `[..., width]` of 0 and 1; the inverse of `bits_to_codes`."""
    shape = (*codes.shape, width)
    return jnp.right_shift(codes[..., None], jax.lax.broadcasted_iota(jnp.int32, shape, codes.ndim)) & 1


def bernoulli_bits(logits: jax.Array, rng: jax.Array | None = None) -> jax.Array:
    """Bits that are 1 with the probability of their logits, straight through (arXiv:1308.3432).

    Args:
        logits: `[...]`, any float type.
        rng: None for the likelier value of each bit instead of a drawn one, for a frozen encoder.

    Returns:
        0 and 1 in the dtype of `logits`, with the gradient of the probabilities.
    """
    probabilities = jax.nn.sigmoid(logits)
    bits = logits > 0 if rng is None else jax.random.bernoulli(rng, probabilities.astype(jnp.float32))
    return straight_through(bits, probabilities)


def gumbel_softmax(
    rng: jax.Array, logits: jax.Array, temperature: jax.Array | float, *, hard: bool = False
) -> jax.Array:
    """A draw from a categorical distribution that has a gradient (Jang, Gu & Poole, arXiv:1611.01144, equation 2).

    Towards temperature 0 it is the one-hot vector of a class drawn with the probability of its logit; a high one gives
    every class the same share. For an array that anneals from step to step the caller keeps it above 0.

    Args:
        logits: `[..., classes]`, any float type; computed in float32.
        temperature: above 0.
        hard: returns the one-hot vector of the largest, with the gradient of the soft one (section 2.2).

    Returns:
        `[..., classes]` that sum to 1, in the dtype of `logits`.

    Raises:
        UserError: the temperature is a number and not above 0.
    """
    if isinstance(temperature, int | float) and not 0 < temperature < math.inf:
        raise UserError(
            f"Gumbel-softmax: temperature {temperature} must be above 0; small ones, such as 0.1, are nearly one-hot."
        )
    noisy = logits.astype(jnp.float32) + jax.random.gumbel(rng, logits.shape)
    soft = jax.nn.softmax(noisy / temperature, axis=-1)
    if hard:
        soft = straight_through(jax.nn.one_hot(jnp.argmax(noisy, -1), logits.shape[-1]), soft)
    return soft.astype(logits.dtype)


def check_width(what: str, x: jax.Array, width: int, setting: str) -> None:
    """UserError unless `x` is `[..., width]`."""
    if x.ndim < 1 or x.shape[-1] != width:
        raise UserError(
            f"{what} of {width} channels was given an array of shape {tuple(x.shape)}; its last axis must be {width}: "
            f"change the encoder's output, or {setting}."
        )


def check_bits(what: str, width: int) -> None:
    """UserError unless a code of so many bits can be numbered."""
    if not 1 <= width <= 31:
        raise UserError(f"{what} of {width} channels: a code has at least 1 bit and at most 31.")
