"""The fastest layout of parameters for decoding: kernels as `[*outputs, *inputs]`.

The reason is in `ssl_jax.ops.affine.affine_output_first`. Models have one layout, `[*inputs, *outputs]`. This module
transposes the kernels once and intercepts the calls of their dense layers.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from ssl_jax.method import Tree
from ssl_jax.models.layers import Dense
from ssl_jax.models.transformer import TransformerConfig, unstack
from ssl_jax.ops.activations import ACTIVATIONS
from ssl_jax.ops.affine import affine_output_first

_NAME = "kernel_first"
"""Name of a transposed kernel among the parameters of its layer."""
_INPUT_AXES = {"out": 2}
"""Number of input axes of a kernel, by the name of the layer; 1 for all others. Attention's output has two."""


def transpose_kernels(layers: Tree, config: TransformerConfig) -> tuple[Tree, ...]:
    """Transposes the kernels in the parameters of a stack of layers, for use inside `kernels_first()`.

    Args:
      layers: parameters of the stack; returned unchanged if they have been transposed already.
      config: of the stack.

    Returns:
      one tree per layer, with kernels `[*outputs, *inputs]` in the dtype of the computation.
    """
    if isinstance(layers, tuple):
        return layers
    return tuple(_transposed(layer, "", config.dtype) for layer in unstack(layers, config))


def _transposed(tree: Tree, name: str, dtype: str) -> Tree:
    result = {}
    for key, value in tree.items():
        if key == "kernel":
            inputs = _INPUT_AXES.get(name, 1)
            axes = (*range(inputs, value.ndim), *range(inputs))
            result[_NAME] = jnp.transpose(value, axes).astype(dtype)
        else:
            result[key] = _transposed(value, key, dtype) if isinstance(value, dict) else value
    return result


def kernels_first() -> AbstractContextManager[None]:
    """A context in which layers with parameters from `transpose_kernels` can be applied; other layers work as usual."""
    return nn.intercept_methods(_intercept)


def _intercept(call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
    layer = context.module
    if not (isinstance(layer, Dense) and layer.has_variable("params", _NAME)):
        return call(*args, **kwargs)
    [x] = args
    x = x.astype(layer.dtype)
    if layer.activation is not None:
        x = ACTIVATIONS[layer.activation](x)
    bias = layer.get_variable("params", "bias") if layer.has_variable("params", "bias") else None
    return affine_output_first(x, layer.get_variable("params", _NAME), bias, layer.axes)
