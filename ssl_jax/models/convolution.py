"""Convolutions of images with derivatives that are fast in loops too.

JAX states the gradients of a convolution by axes out of their usual order. XLA for CPUs has fast code for the usual
order alone, and restores it only outside of loops: in the body of one (layers under `nn.scan`, micro-batches) those
gradients take up to a hundred times as long. Here they are stated in the usual order, between transpositions. What
XLA makes of the two for TPUs is the same.
"""

import functools

import jax
import jax.numpy as jnp

_AXES = ("NHWC", "HWIO", "NHWC")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def convolve(x: jax.Array, kernel: jax.Array, stride: int = 1) -> jax.Array:
    """A convolution in the dtype of `x`, padded by `size // 2` on all sides: only the stride shrinks the image.

    Args:
        x: `[batch, height, width, channels]`.
        kernel: float32 `[size, size, channels, features]`, `size` odd.
        stride: of both axes.

    Returns:
        `[batch, ceil(height / stride), ceil(width / stride), features]`. The gradient of the kernel is summed in
        float32 whatever the dtype.
    """
    pad = kernel.shape[0] // 2
    return jax.lax.conv_general_dilated(
        x, kernel.astype(x.dtype), (stride, stride), [(pad, pad)] * 2, dimension_numbers=_AXES
    )


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, tuple]:
    return convolve(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    pad = kernel.shape[0] // 2
    # Rows and columns at the end of the image on which no stride lands.
    rest = [n - 1 - (m - 1) * stride for n, m in zip(x.shape[1:3], g.shape[1:3], strict=True)]
    turned = jnp.flip(kernel.astype(x.dtype), (0, 1)).swapaxes(2, 3)
    dx = jax.lax.conv_general_dilated(
        g,
        turned,
        (1, 1),
        [(pad, pad + r) for r in rest],
        lhs_dilation=(stride, stride),
        dimension_numbers=_AXES,
    )
    dkernel = jax.lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        g.transpose(1, 2, 0, 3),
        (1, 1),
        [(pad, pad - r) for r in rest],
        rhs_dilation=(stride, stride),
        dimension_numbers=_AXES,
        preferred_element_type=jnp.float32,
    )
    return dx, dkernel.transpose(1, 2, 0, 3)


convolve.defvjp(_forward, _backward)
