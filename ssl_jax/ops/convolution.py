"""Convolutions of images and sequences, and their transposes.

JAX writes the gradients of a convolution with axes out of their usual order. XLA for CPUs has fast code for the usual
order alone, and restores that order only outside of loops: in the body of one (layers under `nn.scan`, micro-batches)
those gradients take up to a hundred times as long (https://github.com/jax-ml/jax/issues/12868). The fast forms here
write them in the usual order, between transpositions. XLA for TPUs compiles both to the same program. On one CPU, wide
convolutions of images are computed a few images at a time (`ssl_jax/ops/convolution_in_pieces.py`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ssl_jax.ops import convolution_in_pieces as in_pieces
from ssl_jax.ops.operation import Operation
from ssl_jax.ops.pieces import on_one_cpu

WIDE = 64
"""Channels or features from which on pieces are faster, or as fast."""
_AXES = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
"""By the number of axes between batch and channels."""


@Operation
def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """A convolution in the dtype of `x`, padded so that only the stride shrinks the image.

    Args:
      x: `[batch, height, width, channels]` or `[batch, length, channels]`.
      kernel: float32 `[size, size, channels, features]` or `[size, channels, features]`. An odd size is padded by
        `size // 2` on all sides. An even size, for a stride that divides the image, is padded by `size - stride` in
        all: as the 4x4 kernels of stride 2 of VQ-VAE.
      stride: of all axes.

    Returns:
      `[batch, ceil(height / stride), ceil(width / stride), features]`, or `[batch, ceil(length / stride), features]`.
      The fast form sums the gradient of the kernel in float32 whatever the dtype.
    """
    axes = x.ndim - 2
    padding = [_padding(kernel.shape[0], stride)] * axes
    return _convolve(x, kernel.astype(x.dtype), padding, window_strides=(stride,) * axes)


@Operation
def convolve_transposed(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """The transpose of `convolve`, which enlarges by the stride.

    Args:
      x: `[batch, height, width, features]` or `[batch, length, features]`.
      kernel: float32 `[size, size, channels, features]` or `[size, channels, features]`: that of the convolution
        whose transpose this is.
      stride: of all axes. If it divides the size of the kernel, every output is a sum of as many products, without
        the checkerboard that uneven overlaps leave (https://distill.pub/2016/deconv-checkerboard).

    Returns:
      `[batch, height * stride, width * stride, channels]`, or `[batch, length * stride, channels]`.
    """
    batch, *sizes, _ = x.shape
    image = jax.ShapeDtypeStruct((batch, *(size * stride for size in sizes), kernel.shape[-2]), x.dtype)
    return jax.linear_transpose(lambda image: convolve.plain(image, kernel, stride), image)(x)[0]


@convolve.fast_form
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _fast_convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    if _suits_pieces(kernel.shape):
        return in_pieces.convolve(x, kernel, stride, _padding(kernel.shape[0], stride))
    return convolve.plain(x, kernel, stride)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple]:
    return _fast_convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return _to_input(g, kernel, stride, x.shape[1:-1]), _to_kernel(x, g, kernel.shape[0], stride)


_fast_convolve.defvjp(_forward, _backward)


@convolve_transposed.fast_form
@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _fast_transposed(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    return _to_input(x, kernel, stride, [n * stride for n in x.shape[1:-1]])


def _forward_transposed(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple]:
    return _fast_transposed(x, kernel, stride), (x, kernel)


def _backward_transposed(stride: int, saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    return _fast_convolve(g, kernel, stride), _to_kernel(g, x, kernel.shape[0], stride)


_fast_transposed.defvjp(_forward_transposed, _backward_transposed)


def _to_input(g: jax.Array, kernel: jax.Array, stride: int, sizes: Sequence[int]) -> jax.Array:
    """Gradient of a convolution's input of these `sizes`, from `g`, the gradient of its output."""
    axes, size = g.ndim - 2, kernel.shape[0]
    low, high = _padding(size, stride)
    if _suits_pieces(kernel.shape):
        return in_pieces.to_input(g, kernel, stride, (low, high), sizes)
    rests = _rests(size, stride, sizes, g.shape[1:-1])
    flipped = jnp.flip(kernel.astype(g.dtype), range(axes)).swapaxes(-1, -2)
    padding = [(size - 1 - low, size - 1 - high + rest) for rest in rests]
    return _convolve(g, flipped, padding, lhs_dilation=(stride,) * axes)


def _to_kernel(x: jax.Array, g: jax.Array, size: int, stride: int) -> jax.Array:
    """Gradient of a convolution's kernel, from its input and the gradient of its output."""
    axes = x.ndim - 2
    low, high = _padding(size, stride)
    if _suits_pieces((size,) * axes + (x.shape[-1], g.shape[-1])):
        return in_pieces.to_kernel(x, g, size, stride, (low, high))
    dkernel = _convolve(
        x.swapaxes(0, -1),
        jnp.moveaxis(g, 0, -2),
        [(low, high - rest) for rest in _rests(size, stride, x.shape[1:-1], g.shape[1:-1])],
        rhs_dilation=(stride,) * axes,
        preferred_element_type=jnp.float32,
    )
    return jnp.moveaxis(dkernel, 0, -2)


def _suits_pieces(kernel: Sequence[int]) -> bool:
    """Whether a convolution with a kernel of this shape is faster in pieces, where all examples are on one CPU."""
    *axes, channels, features = kernel
    return on_one_cpu() and len(axes) == 2 and max(channels, features) >= WIDE


def _padding(size: int, stride: int) -> tuple[int, int]:
    if size % 2:
        return size // 2, size // 2
    low = (size - stride) // 2
    return low, size - stride - low


def _rests(size: int, stride: int, inputs: Sequence[int], outputs: Sequence[int]) -> list[int]:
    """Rows and columns at the end of the image on which no stride lands."""
    padded = sum(_padding(size, stride))
    return [n + padded - size - (m - 1) * stride for n, m in zip(inputs, outputs, strict=True)]


def _convolve(x: jax.Array, kernel: jax.Array, padding: list[tuple[int, int]], **options: Any) -> jax.Array:
    axes = x.ndim - 2
    options = {"window_strides": (1,) * axes, "dimension_numbers": _AXES[axes], **options}
    return jax.lax.conv_general_dilated(x, kernel, padding=padding, **options)
