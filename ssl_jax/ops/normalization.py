"""Standardisation, of which layer normalisations are made."""

import functools

import jax
import jax.numpy as jnp

from ssl_jax.ops.operation import Operation


@Operation
def standardise(x: jax.Array, epsilon: float, centre: bool = True) -> jax.Array:
    """The last axis divided by its standard deviation, or by its root mean square if it is not centred.

    Args:
      x: float32 `[..., width]`.
      epsilon: added to the variance.
      centre: whether the mean is subtracted first.
    """
    centred = x - x.mean(-1, keepdims=True) if centre else x
    return centred / jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + epsilon)


@standardise.fast_form
@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _fast_standardise(x: jax.Array, epsilon: float, centre: bool = True) -> jax.Array:
    return _standardised_and_scale(x, epsilon, centre)[0]


def _standardised_and_scale(x: jax.Array, epsilon: float, centre: bool) -> tuple[jax.Array, jax.Array]:
    centred = x - x.mean(-1, keepdims=True) if centre else x
    scale = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    return centred * scale, scale


@_fast_standardise.defjvp
def _standardise_jvp(
    epsilon: float, centre: bool, primals: tuple, tangents: tuple
) -> tuple[jax.Array, jax.Array]:
    # In terms of the output, so that the backward pass reads nothing else.
    [x], [dx] = primals, tangents
    y, scale = _standardised_and_scale(x, epsilon, centre)
    centred = dx - dx.mean(-1, keepdims=True) if centre else dx
    return y, scale * (centred - y * (y * dx).mean(-1, keepdims=True))
