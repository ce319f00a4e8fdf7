"""What all quantisers have in common: their result, and its gradient."""

from typing import NamedTuple

import jax

from ssl_jax.errors import UserError


class Quantized(NamedTuple):
    """The result of a quantiser.

    Attributes:
      vectors: `[..., width]`, the input of a decoder.
      codes: int32 `[...]`, the number of each vector, for a prior or a file.
    """

    vectors: jax.Array
    codes: jax.Array


def straight_through(value: jax.Array, x: jax.Array) -> jax.Array:
    """`value` exactly, with the gradient of `x`; both have one shape. The dtype is that of `x`."""
    # x - x is exactly 0, while x + (value - x) is rounded.
    return jax.lax.stop_gradient(value.astype(x.dtype)) + (x - jax.lax.stop_gradient(x))


def check_width(what: str, x: jax.Array, width: int, setting: str) -> None:
    """Checks that `x` is `[..., width]`.

    Raises:
      UserError: it has another shape.
    """
    if x.ndim < 1 or x.shape[-1] != width:
        raise UserError(
            f"{what} of {width} channels was given an array of shape {tuple(x.shape)}; its last axis must be {width}: "
            f"change the encoder's output, or {setting}."
        )
