"""Affine maps: dense layers, dense layers of a few rows as decoding has them, and output layers of tied embeddings."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.ops.activations import ACTIVATIONS, Activation
from ssl_jax.ops.operation import Operation
from ssl_jax.ops.recompute import recompute

FEW_ROWS = 64
"""Up to so many rows, `tied_logits` multiplies with the table on the left."""


def _add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    return y + bias.astype(y.dtype).reshape((1,) * (y.ndim - bias.ndim) + bias.shape)


@Operation
def affine(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, activation: Activation | None = None
) -> jax.Array:
    """`activation(x) @ kernel + bias` over the last axes of `x`, in the dtype of `x`.

    Args:
      x: `[*batch, *inputs]`.
      kernel: float32 `[*inputs, *outputs]`.
      bias: float32 `[*outputs]`.
      activation: of `x`; None for the identity.

    Returns:
      `[*batch, *outputs]`. The fast form sums the gradients of kernel and bias in float32 whatever the dtype.
    """
    x = x if activation is None else ACTIVATIONS[activation](x)
    return _add_bias(jnp.tensordot(x, kernel.astype(x.dtype), kernel.ndim - bias.ndim), bias)


@affine.fast_form
def _fast_affine(
    x: jax.Array, kernel: jax.Array, bias: jax.Array, activation: Activation | None = None
) -> jax.Array:
    if activation is None:
        return _affine(x, kernel, bias)
    # Only the input of the activation is stored for the backward pass.
    function = ACTIVATIONS[activation]
    return recompute(lambda x, kernel, bias: _affine(function(x), kernel, bias))(x, kernel, bias)


@jax.custom_vjp
def _affine(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    inputs = kernel.ndim - bias.ndim
    contract = (tuple(range(x.ndim - inputs, x.ndim)), tuple(range(inputs)))
    return _add_bias(jax.lax.dot_general(x, kernel.astype(x.dtype), (contract, ((), ()))), bias)


def _affine_forward(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, tuple]:
    return _affine(x, kernel, bias), (x, kernel, bias)


def _affine_backward(saved: tuple, g: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, kernel, bias = saved
    inputs = kernel.ndim - bias.ndim
    batch = x.ndim - inputs
    contract = (tuple(range(batch, g.ndim)), tuple(range(inputs, kernel.ndim)))
    dx = jax.lax.dot_general(g, kernel.astype(x.dtype), (contract, ((), ())))
    # As products of matrices with one axis of rows: with more, XLA on a CPU copies `x` transposed. The outputs keep
    # their axes, by which they may be sharded over devices.
    rows = math.prod(x.shape[:batch])
    x, g = x.reshape(rows, -1), g.reshape(rows, *bias.shape)
    over_rows = functools.partial(
        jax.lax.dot_general, dimension_numbers=(((0,), (0,)), ((), ())), preferred_element_type=jnp.float32
    )
    # The sum for the bias is a product with ones, because XLA's sum over rows is slower on a CPU.
    return dx, over_rows(x, g).reshape(kernel.shape), over_rows(jnp.ones(rows, g.dtype), g)


_affine.defvjp(_affine_forward, _affine_backward)


@Operation
def affine_output_first(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, inputs: int = 1
) -> jax.Array:
    """`affine` with a kernel that is stored output first, for a few rows of `x`.

    Args:
      x: `[*batch, *inputs]`.
      kernel: `[*outputs, *inputs]`, in the dtype of `x`.
      bias: `[*outputs]`, or None.
      inputs: how many axes are inputs.

    Returns:
      `[*batch, *outputs]`.
    """
    last = tuple(range(-inputs, 0))
    y = jnp.tensordot(x, kernel, (last, last))
    return y if bias is None else _add_bias(y, bias)


@affine_output_first.fast_form
def _fast_affine_output_first(
    x: jax.Array, kernel: jax.Array, bias: jax.Array | None, inputs: int = 1
) -> jax.Array:
    # At every token of a text each weight is read once and multiplied with a few vectors. XLA on a CPU copies the right
    # operand of such a product into another order first; with the kernel on the right, that is a copy of the whole
    # model at every token. On the left, and stored output first, the kernel is read in the order of its memory.
    outputs, batch = kernel.ndim - inputs, x.ndim - inputs
    contract = (tuple(range(outputs, kernel.ndim)), tuple(range(batch, x.ndim)))
    y = jax.lax.dot_general(kernel, x, (contract, ((), ())))
    y = jnp.transpose(y, (*range(outputs, y.ndim), *range(outputs)))
    return y if bias is None else _add_bias(y, bias)


class OutputLayer(NamedTuple):
    """What the logits of tokens are computed from, so that a loss may compute them in tiles.

    Attributes:
      hidden: `[..., width]`.
      table: float32 `[vocab, width]`.
      bias: float32 `[vocab]`, or None.
    """

    hidden: jax.Array
    table: jax.Array
    bias: jax.Array | None = None

    def logits(self) -> jax.Array:
        """All logits, float32 `[..., vocab]`."""
        return tied_logits(*self)


@Operation
def tied_logits(hidden: jax.Array, table: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """A table of embeddings as the output layer.

    Args:
      hidden: `[..., width]`.
      table: float32 `[vocab, width]`.
      bias: float32 `[vocab]`, or None.

    Returns:
      float32 `[..., vocab]`.
    """
    logits = (hidden @ table.T.astype(hidden.dtype)).astype(jnp.float32)
    return logits if bias is None else _add_bias(logits, bias)


@tied_logits.fast_form
def _fast_tied_logits(hidden: jax.Array, table: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    batch = hidden.shape[:-1]
    if math.prod(batch) <= FEW_ROWS:
        # Decoding. With the table on the left, XLA on a CPU reads it in the order of its memory and copies nothing.
        rows = hidden.reshape(-1, hidden.shape[-1])
        logits = jax.lax.dot_general(table.astype(hidden.dtype), rows, (((1,), (1,)), ((), ())))
        logits = logits.T.reshape(*batch, -1).astype(jnp.float32)
        return logits if bias is None else _add_bias(logits, bias)
    if bias is None:
        return jnp.einsum("...d,vd->...v", hidden, table.astype(hidden.dtype)).astype(jnp.float32)
    return affine(hidden, table.T, bias).astype(jnp.float32)
