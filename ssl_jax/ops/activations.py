"""Activation functions by name, and the product of a gated layer."""

import math
from collections.abc import Callable
from typing import Literal

import jax

from ssl_jax.ops.operation import Operation
from ssl_jax.ops.recompute import recompute

Activation = Literal["gelu", "gelu_tanh", "relu"]


@Operation
def gelu(x: jax.Array) -> jax.Array:
    """x times the Gaussian distribution function of x (arXiv:1606.08415); Hugging Face's "gelu"."""
    return jax.nn.gelu(x, approximate=False)


@gelu.fast_form
@recompute
def _gelu_by_erf(x: jax.Array) -> jax.Array:
    # XLA computes erf by one polynomial; the erfc of jax.nn.gelu costs three times as much.
    return 0.5 * x * (1 + jax.lax.erf(x * math.sqrt(0.5)))


@Operation
def gelu_tanh(x: jax.Array) -> jax.Array:
    """The approximation of `gelu` by tanh, which GPT-2 and google-research/bert use."""
    return jax.nn.gelu(x, approximate=True)


gelu_tanh.fast_form(recompute(gelu_tanh.plain))

ACTIVATIONS: dict[Activation, Callable[[jax.Array], jax.Array]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "relu": jax.nn.relu,
}


@Operation
def gated(x: jax.Array, gate: jax.Array, activation: Activation) -> jax.Array:
    """The hidden units of a gated MLP (arXiv:2002.05202); `x` and `gate` have one shape."""
    return x * ACTIVATIONS[activation](gate)


gated.fast_form(recompute(gated.plain, static_argnums=2))
