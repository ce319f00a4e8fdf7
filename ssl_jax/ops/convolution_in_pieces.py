"""Convolutions of images as matrix products of a few images at a time: for CPUs, whose caches they fit.

XLA's code for CPUs is slow for the gradient of a kernel (2 to 45 GFLOP/s where products of matrices reach 100), and for
few channels and strides. Here copies of an image, shifted along its width, lie side by side, so that each row of the
kernel is one product with the rows of the image that it meets. Copies of a whole batch would come from memory, and be
no faster than XLA's code.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssl_jax.ops.pieces import count_pieces, cut, joined

PIECE = 2 * 2**20
"""Bytes of copies and outputs that a piece of a batch may have."""


def convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """See `ssl_jax.ops.convolution.convolve`.

    Args:
      x: `[batch, height, width, channels]`.
      kernel: `[size, size, channels, features]`.
      stride: of both axes.
      padding: of both axes, before and after.
    """
    pieces = _pieces(x.shape, kernel.shape, stride)
    return joined(jax.lax.map(lambda x: _convolve(x, kernel, stride, padding), cut(x, pieces)))


def to_input(
    g: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int], sizes: Sequence[int]
) -> jax.Array:
    """Gradient of a convolution's input of these `sizes`, from `g`, the gradient of its output."""
    shape = (len(g), *sizes, kernel.shape[-2])
    pieces = _pieces(shape, kernel.shape, stride)
    x = jax.ShapeDtypeStruct((shape[0] // pieces, *shape[1:]), g.dtype)
    transposed = jax.linear_transpose(lambda x: _convolve(x, kernel, stride, padding), x)
    return joined(jax.lax.map(lambda g: transposed(g)[0], cut(g, pieces)))


def to_kernel(x: jax.Array, g: jax.Array, size: int, stride: int, padding: tuple[int, int]) -> jax.Array:
    """Float32 gradient of a convolution's kernel, from its input and the gradient of its output."""
    channels, features = x.shape[-1], g.shape[-1]
    pieces = _pieces(x.shape, (size, size, channels, features), stride)

    def add(total: jax.Array, piece: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x, g = piece
        rows = _rows(x, size, stride, padding)
        g = g.astype(jnp.float32)
        return total + jnp.stack([jnp.tensordot(row, g, ((0, 1, 2), (0, 1, 2))) for row in rows]), None

    total = jnp.zeros((size, size * channels, features), jnp.float32)
    total, _ = jax.lax.scan(add, total, (cut(x, pieces), cut(g, pieces)))
    return total.reshape(size, size, channels, features)


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, padding: tuple[int, int]) -> jax.Array:
    """The convolution of one piece, computed in float32."""
    size, _, channels, features = kernel.shape
    kernel = kernel.astype(jnp.float32).reshape(size, size * channels, features)
    rows = _rows(x, size, stride, padding)
    return sum(row @ part for row, part in zip(rows, kernel, strict=True)).astype(x.dtype)


def _rows(x: jax.Array, size: int, stride: int, padding: tuple[int, int]) -> list[jax.Array]:
    """`size` float32 arrays `[batch, height, width, size * channels]`: what each row of a kernel meets."""
    x = jnp.pad(x.astype(jnp.float32), ((0, 0), padding, padding, (0, 0)))
    height, width = ((n - size) // stride + 1 for n in x.shape[1:3])
    copies = jnp.concatenate([_every(x, 2, start, stride, width) for start in range(size)], axis=-1)
    return [_every(copies, 1, start, stride, height) for start in range(size)]


def _every(x: jax.Array, axis: int, start: int, stride: int, count: int) -> jax.Array:
    """`count` entries of an axis, from `start` on."""
    return jax.lax.slice_in_dim(x, start, start + stride * (count - 1) + 1, stride, axis)


def _pieces(shape: Sequence[int], kernel: Sequence[int], stride: int) -> int:
    """In how many pieces a batch `[batch, height, width, channels]` is computed."""
    batch, height, width, channels = shape
    size, _, _, features = kernel
    image = 4 * height * width // stride * (size * channels + features // stride)
    return count_pieces(batch, image, PIECE)
