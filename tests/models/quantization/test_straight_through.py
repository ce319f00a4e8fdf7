"""The gradient of all quantisers."""

import jax
import jax.numpy as jnp

from ssl_jax.models.quantization.straight_through import straight_through


def test_straight_through_is_exact_where_a_difference_is_rounded():
    value, x = jnp.float32(0.1), jnp.float32(12345.678)
    assert x + (value - x) != value
    assert straight_through(value, x) == value
    assert jax.grad(straight_through, argnums=1)(value, x) == 1
    assert jax.grad(straight_through)(value, x) == 0
