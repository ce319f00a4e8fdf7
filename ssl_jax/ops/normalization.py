"""Standardisation, of which layer normalisations are made, and batch normalisation."""

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


@Operation
def batch_normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Each channel with mean `bias` and standard deviation `scale` over all other axes (arXiv:1502.03167).

    Args:
      x: `[..., channels]`, the whole batch.
      scale, bias: float32 `[channels]`.
      epsilon: added to the variance.

    Returns:
      The normalised `x` in its dtype, and the mean and the biased variance of `x`, float32 `[channels]`, which have no
      gradient. The variance is E[x^2] - E[x]^2, in float32, so that one pass over `x` and one exchange between devices
      give both.
    """
    mean, var = _mean_and_variance(x)
    scale, bias = (_along_channels(each, x) for each in (scale, bias))
    y = (x - mean) / jnp.sqrt(var + epsilon) * scale + bias
    return y.astype(x.dtype), *(jax.lax.stop_gradient(each.ravel()) for each in (mean, var))


@batch_normalise.fast_form
@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _fast_batch_normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    return _batch_forward(x, scale, bias, epsilon)[0]


def _batch_forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[tuple, tuple]:
    mean, var = _mean_and_variance(x)
    scale, bias = (_along_channels(each, x) for each in (scale, bias))
    rate = jax.lax.rsqrt(var + epsilon)
    y = (x - mean) * (rate * scale) + bias
    # x in its own dtype: JAX would keep it for the backward pass in float32, and its distance from the mean as well.
    return (y.astype(x.dtype), mean.ravel(), var.ravel()), (x, scale, mean, rate)


def _batch_backward(
    epsilon: float, saved: tuple, cotangents: tuple
) -> tuple[jax.Array, jax.Array, jax.Array]:
    x, scale, mean, rate = saved
    g, axes, count = cotangents[0].astype(jnp.float32), tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    standard = (x - mean) * rate
    dscale, dbias = (g * standard).sum(axes, keepdims=True), g.sum(axes, keepdims=True)
    dx = (rate * scale) * (g - dbias / count - standard * (dscale / count))
    return dx.astype(x.dtype), dscale.ravel(), dbias.ravel()


_fast_batch_normalise.defvjp(_batch_forward, _batch_backward)


def _mean_and_variance(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of each channel, `[1, ..., channels]` as `x` has axes."""
    x, axes = x.astype(jnp.float32), tuple(range(x.ndim - 1))
    mean = x.mean(axes, keepdims=True)
    # Rounding may make the difference negative.
    return mean, jnp.maximum((x * x).mean(axes, keepdims=True) - mean * mean, 0)


def _along_channels(parameter: jax.Array, x: jax.Array) -> jax.Array:
    return parameter.reshape(*(1,) * (x.ndim - 1), -1)
