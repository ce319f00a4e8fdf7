"""Activation functions against SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from ssl_jax.ops.activations import ACTIVATIONS


def test_gelu_is_the_erf_one_and_gelu_tanh_its_approximation():
    x = np.linspace(-6, 6, 201, dtype=np.float32)
    exact = x * scipy.stats.norm.cdf(x)
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(ACTIVATIONS["gelu"](jnp.asarray(x)), exact, atol=2e-6)
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](jnp.asarray(x)), tanh, atol=2e-6)
    slope = scipy.stats.norm.cdf(x) + x * scipy.stats.norm.pdf(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(ACTIVATIONS["gelu"]))(jnp.asarray(x)), slope, atol=2e-6)
