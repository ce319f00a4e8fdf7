"""Dense layers of a few rows, as decoding has them: the kernel is the left operand of the product.

At every token each weight is read once and multiplied with a few vectors. XLA on a CPU copies the right operand of such
a product into another order first; with the kernel on the right, that is a copy of the whole model at every token. On
the left, and stored as `[*outputs, *inputs]`, it is read as it lies.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.method import Tree
from ssl_jax.models.layers import ACTIVATIONS, Dense
from ssl_jax.models.transformer import TransformerConfig, unstack

_TURNED = "kernel_first"
_INPUT_AXES = {"out": 2}
"""How many axes of a kernel are inputs, by the name of the layer; others have one. Attention's output has two."""


def lay_out(layers: Tree, config: TransformerConfig) -> tuple[Tree, ...]:
    """The parameters at `layers` of a stack, as decoding reads them fastest: for use inside `kernels_first()`.

    Returns:
        one tree a layer, its kernels as `[*outputs, *inputs]` in the dtype that is computed in. What is laid out
        already is returned as it is.
    """
    if isinstance(layers, tuple):
        return layers
    return tuple(_turn(layer, "", config.dtype) for layer in unstack(layers, config))


def _turn(tree: Tree, name: str, dtype: str) -> Tree:
    turned = {}
    for key, value in tree.items():
        if key == "kernel":
            inputs = _INPUT_AXES.get(name, 1)
            axes = (*range(inputs, value.ndim), *range(inputs))
            turned[_TURNED] = jnp.transpose(value, axes).astype(dtype)
        else:
            turned[key] = _turn(value, key, dtype) if isinstance(value, dict) else value
    return turned


def kernels_first() -> Any:
    """A context in which models apply layers whose parameters `lay_out` made, and all others as always."""
    return nn.intercept_methods(_multiply)


def _multiply(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
    layer = context.module
    if not (isinstance(layer, Dense) and layer.has_variable("params", _TURNED)):
        return call(*args, **kwargs)
    kernel = layer.get_variable("params", _TURNED)
    [x] = args
    x = x.astype(layer.dtype)
    if layer.activation is not None:
        x = ACTIVATIONS[layer.activation](x)
    outputs, batch = kernel.ndim - layer.axes, x.ndim - layer.axes
    contract = (tuple(range(outputs, kernel.ndim)), tuple(range(batch, x.ndim)))
    y = jax.lax.dot_general(kernel, x, (contract, ((), ())))
    y = jnp.transpose(y, (*range(outputs, y.ndim), *range(outputs)))
    if layer.has_variable("params", "bias"):
        bias = layer.get_variable("params", "bias").astype(layer.dtype)
        y = y + bias.reshape((1,) * batch + bias.shape)
    return y
