"""Layers against the formulas of their papers, and how their kernels are initialised."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ssl_jax.models.layers import Dense, LayerNorm, Mlp, RmsNorm, Table


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def compare(ours, plain, *inputs):
    """Two formulas give the same values and derivatives."""

    @jax.jit
    def value_and_gradients(cotangent, *inputs):
        found = []
        for formula in (ours, plain):
            value, back = jax.vjp(formula, *inputs)
            found.append((value, back(cotangent)))
        return found

    (value, gradients), (wanted, wanted_gradients) = value_and_gradients(normal(3, *inputs[0].shape), *inputs)
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-5)
    for a, b in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_layer_norm_and_its_gradients():
    x, scale, bias = 3 + 2 * normal(0, 4, 5, 16), normal(1, 16), normal(2, 16)

    def ours(x, scale, bias):
        return LayerNorm(1e-5).apply({"params": {"scale": scale, "bias": bias}}, x)

    def plain(x, scale, bias):
        variance = ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True)
        normalised = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(variance + 1e-5)
        return normalised * scale[None, None] + bias[None, None]

    compare(ours, plain, x, scale, bias)


def test_rms_norm_and_its_gradients():
    x, scale = 3 + 2 * normal(0, 4, 5, 16), normal(1, 16)

    def ours(x, scale):
        return RmsNorm(1e-2).apply({"params": {"scale": scale}}, x)

    def plain(x, scale):  # arXiv:1910.07467, equation 4
        return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-2) * scale[None, None]

    compare(ours, plain, x, scale)


def test_layer_norm_of_a_large_mean_loses_nothing():
    x = 1000 + normal(0, 2, 64)
    y = LayerNorm(1e-12).apply({"params": {"scale": jnp.ones(64), "bias": jnp.zeros(64)}}, x)
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    np.testing.assert_allclose(y, exact, atol=1e-3)


def test_mlp_backward_equals_that_of_plain_autodiff():
    x = normal(0, 3, 8)
    mlp = Mlp(16, "gelu")
    params = jax.jit(mlp.init)(jax.random.key(1), x)

    def plain(params, x):
        up, down = params["params"]["up"], params["params"]["down"]
        hidden = jax.nn.gelu(x @ up["kernel"] + up["bias"][None], approximate=False)
        return hidden @ down["kernel"] + down["bias"][None]

    gradients = [jax.jit(jax.grad(lambda p, f=f: (f(p, x) ** 2).sum()))(params) for f in (mlp.apply, plain)]
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gated_mlp_without_biases_and_its_gradients():
    x = normal(0, 3, 8)
    mlp = Mlp(16, "gelu_tanh", bias=False, gated=True)
    params = jax.jit(mlp.init)(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, params["params"]) == {
        "up": {"kernel": (8, 16)},
        "gate": {"kernel": (8, 16)},
        "down": {"kernel": (16, 8)},
    }

    def plain(params, x):  # GEGLU of arXiv:2002.05202
        kernels = {name: part["kernel"] for name, part in params["params"].items()}
        return (jax.nn.gelu(x @ kernels["gate"]) * (x @ kernels["up"])) @ kernels["down"]

    gradients = [
        jax.jit(jax.grad(lambda p, x, f=f: (f(p, x) ** 2).sum(), (0, 1)))(params, x)
        for f in (mlp.apply, plain)
    ]
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("module", "inputs"),
    [
        (Dense((4, 64), None), (1, 256)),
        (Dense((64,), None, axes=2), (1, 4, 64)),
        (Table(128, 256, None), jnp.zeros(1, int)),
    ],
)
def test_kernels_drawn_by_their_inputs(module, inputs):
    """256 inputs in each case: a standard deviation of 1/16, after the normal distribution is cut off."""
    x = jnp.ones(inputs) if isinstance(inputs, tuple) else inputs
    params = jax.jit(module.init)(jax.random.key(0), x)["params"]
    kernel = np.asarray(params.get("kernel", params.get("embedding")))
    assert abs(kernel.std() * 16 - 1) < 0.02
    assert np.abs(kernel).max() * 16 < 2.3  # twice the deviation before the cut


def test_kernels_start_as_a_truncated_normal():
    kernel = jax.jit(Dense((512,), stddev=0.02).init)(jax.random.key(0), jnp.ones((1, 512)))["params"][
        "kernel"
    ]
    kernel = np.asarray(kernel).ravel()
    assert np.abs(kernel).max() <= 0.04
    assert scipy.stats.kstest(kernel, scipy.stats.truncnorm(-2, 2, scale=0.02).cdf).pvalue > 1e-3
