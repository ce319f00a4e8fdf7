"""Likelihoods of pixels that have a finite number of levels."""

import jax
import jax.numpy as jnp
from jax.scipy.special import log_ndtr


def level_log_likelihood(
    levels: jax.Array, mean: jax.Array, deviation: jax.Array | float, *, count: int = 256
) -> jax.Array:
    """log of the probability that a Gaussian, rounded to the nearest level, is this level (arXiv:2006.11239, 3.3).

    Values below the lowest level or above the highest are rounded to these, so that the probabilities of all levels sum
    to 1. The result, unlike a density, can be converted to bits per dimension without a correction.

    Args:
      levels: int [...], from 0 to count - 1.
      mean: float [...], in units where the lowest level is 0 and the highest is 1.
      deviation: standard deviation of the Gaussian in the same units, above 0; broadcastable to the others.
      count: number of levels.

    Returns:
      float32 [...], nats.

    Example:
      >>> print(round(float(level_log_likelihood(jnp.array(0), jnp.array(0.5), 1.0, count=2)), 4))  # log 1/2
      -0.6931
    """
    # The level and the bounds halfway to its neighbours, in units of the deviation.
    step = 1 / (jnp.asarray(deviation, jnp.float32) * (count - 1))
    place = (levels.astype(jnp.float32) - mean.astype(jnp.float32) * (count - 1)) * step
    lower, upper = place - step / 2, place + step / 2
    # Probabilities of the left tail are near 0 and exact; those of the right tail are near 1 and lose digits.
    flip = place > 0
    lower, upper = jnp.where(flip, -upper, lower), jnp.where(flip, -lower, upper)
    lowest, highest = levels == 0, levels == count - 1
    open_below = jnp.where(flip, highest, lowest)
    open_above = jnp.where(flip, lowest, highest)
    log_upper = jnp.where(open_above, 0.0, log_ndtr(upper))
    missing = jnp.where(open_below, 0.0, jnp.exp(log_ndtr(lower) - log_upper))
    return log_upper + jnp.log1p(-missing)
