"""Lookup-free quantisation: the sign of each channel is a bit of the code (MAGVIT-v2, arXiv:2310.05737)."""

import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.quantization.straight_through import Quantized, straight_through


def lookup_free(x: jax.Array) -> Quantized:
    """Replaces each channel by its sign, -1 or 1 (arXiv:2310.05737, section 3.1).

    `ssl_jax.losses.quantization.entropy_penalty` keeps the codes in use.

    Args:
      x: `[..., bits]`, any float type.

    Returns:
      Vectors of -1 (for 0 and below) and 1; the first channel is the lowest bit of the code.

    Raises:
      UserError: there are more than 31 channels.
    """
    check_bits("lookup-free quantisation", x.shape[-1])
    bits = x > 0
    return Quantized(straight_through(jnp.where(bits, 1.0, -1.0), x), bits_to_codes(bits))


def lookup_free_vectors(codes: jax.Array, width: int) -> jax.Array:
    """The vectors of codes: `[...]` to float32 `[..., width]` of -1 and 1."""
    return 2 * codes_to_bits(codes, width).astype(jnp.float32) - 1


def bits_to_codes(bits: jax.Array) -> jax.Array:
    """int32 `[...]`, the binary numbers with the digits `bits [..., bits]`, bool or 0 and 1, the lowest bit first."""
    places = jnp.left_shift(1, jax.lax.broadcasted_iota(jnp.int32, bits.shape, bits.ndim - 1))
    return jnp.sum(jnp.where(bits > 0, places, 0), axis=-1, dtype=jnp.int32)


def codes_to_bits(codes: jax.Array, width: int) -> jax.Array:
    """int32 `[..., width]` of 0 and 1; the inverse of `bits_to_codes`."""
    shape = (*codes.shape, width)
    return jnp.right_shift(codes[..., None], jax.lax.broadcasted_iota(jnp.int32, shape, codes.ndim)) & 1


def check_bits(what: str, width: int) -> None:
    """Checks that an int32 can number codes of `width` bits.

    Raises:
      UserError: it cannot.
    """
    if not 1 <= width <= 31:
        raise UserError(f"{what} of {width} channels: a code has at least 1 bit and at most 31.")
