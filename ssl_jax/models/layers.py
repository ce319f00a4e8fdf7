"""The parts of every transformer: dense layers, layer normalisation, dropout, activations, the MLP block."""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

Activation = Literal["gelu", "gelu_tanh", "relu"]

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),  # erf: Hugging Face's "gelu"
    "gelu_tanh": lambda x: jax.nn.gelu(
        x, approximate=True
    ),  # GPT-2's, and google-research/bert's as released
    "relu": jax.nn.relu,
}


class Dense(nn.Module):
    """A linear map of the last `axes` axes of the input to `features`, with a bias.

    Attributes:
        features: shape of the output's last axes; the kernel is `[*inputs, *features]`.
        stddev: of the normal distribution, cut off at twice that, which the kernel is drawn from.
        dtype: of the computation; parameters are float32.
        axes: how many.
    """

    features: tuple[int, ...]
    stddev: float = 0.02
    dtype: str = "float32"
    axes: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inputs = x.shape[x.ndim - self.axes :]
        batch = x.shape[: x.ndim - self.axes]
        kernel = self.param(
            "kernel", nn.initializers.truncated_normal(self.stddev), (*inputs, *self.features), jnp.float32
        )
        bias = self.param("bias", nn.initializers.zeros, self.features, jnp.float32)
        x, kernel, bias = (a.astype(self.dtype) for a in (x, kernel, bias))
        contract = (tuple(range(len(batch), x.ndim)), tuple(range(self.axes)))
        y = jax.lax.dot_general(x, kernel, (contract, ((), ())))
        return y + bias.reshape((1,) * len(batch) + self.features)


class LayerNorm(nn.Module):
    """Layer normalisation of the last axis (arXiv:1607.06450), computed in float32 whatever the dtype."""

    epsilon: float
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], jnp.float32)
        scale, bias = (a.reshape((1,) * (x.ndim - 1) + a.shape) for a in (scale, bias))
        x = x.astype(jnp.float32)
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred * centred).mean(-1, keepdims=True)
        y = centred * jax.lax.rsqrt(variance + self.epsilon) * scale + bias
        return y.astype(self.dtype)


def dropout_mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> tuple[jax.Array, float]:
    """Which elements to keep, boolean `[*shape]`, and the exact probability with which each one is kept.

    Random bits are what dropout costs, so two elements share one 32-bit word. The probability is a multiple
    of 2^-16: rescale by the one returned, not by `1 - rate`. The mask depends on the key and the shape alone,
    never on how the array is laid over devices.
    """
    size = math.prod(shape)
    words = jax.random.bits(key, ((size + 1) // 2,), jnp.uint32)
    bits = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(-1)[:size].reshape(shape)
    threshold = round((1 - rate) * 2**16)
    return bits < threshold, threshold / 2**16


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes elements with probability `rate` and rescales the others; the identity without a key."""
    if key is None or rate == 0:
        return x
    keep, probability = dropout_mask(key, rate, x.shape)
    return jnp.where(keep, x * (1 / probability), jnp.zeros((), x.dtype))


class Mlp(nn.Module):
    """Dense, activation, dense: `[..., width] -> [..., width]` through `hidden` units."""

    hidden: int
    activation: Activation = "gelu"
    stddev: float = 0.02
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        x = Dense((self.hidden,), self.stddev, self.dtype, name="up")(x)
        x = ACTIVATIONS[self.activation](x)
        return Dense((width,), self.stddev, self.dtype, name="down")(x)
