"""Reductions at the edge of their inputs."""

import jax
import jax.numpy as jnp

from ssl_jax.ops.reductions import argmin


def test_nan_has_an_index_in_range():
    x = jnp.array([[jnp.nan, 1.0, 2.0], [jnp.nan] * 3])
    assert set(jax.jit(argmin)(x).tolist()) <= {0, 1, 2}
