import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssl_jax.models.layers import (
    ACTIVATIONS,
    Dense,
    LayerNorm,
    Mlp,
    RmsNorm,
    Table,
    affine,
    dropout,
    random_words,
)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


@pytest.mark.parametrize(
    ("subscripts", "kernel"), [("blw,wthd->blthd", (6, 3, 2, 5)), ("blhd,hdw->blw", (2, 5, 6))]
)
def test_affine_and_its_gradients_are_those_of_einsum(subscripts, kernel):
    bias = normal(0, *kernel[1:]) if len(kernel) == 4 else normal(0, kernel[-1])
    x = normal(1, 3, 4, *kernel[: len(kernel) - bias.ndim])

    def plain(x, kernel, bias):
        return jnp.einsum(subscripts, x, kernel) + bias[None, None]

    kernel = normal(2, *kernel)
    ours, ours_back = jax.vjp(affine, x, kernel, bias)
    theirs, theirs_back = jax.vjp(plain, x, kernel, bias)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    cotangent = normal(3, *theirs.shape)
    for a, b in zip(ours_back(cotangent), theirs_back(cotangent), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_gradient_of_a_bfloat16_kernel_is_summed_in_float32():
    # 1024 ones: a sum in bfloat16 stops at 256.
    x = jnp.ones((1024, 1), jnp.bfloat16)
    _, back = jax.vjp(affine, x, jnp.ones((1, 1)), jnp.zeros(1))
    _, kernel, bias = back(jnp.ones((1024, 1), jnp.bfloat16))
    assert (kernel.dtype, kernel.item(), bias.item()) == (jnp.float32, 1024, 1024)


def test_layer_norm_and_its_gradients():
    x, scale, bias = 3 + 2 * normal(0, 4, 5, 16), normal(1, 16), normal(2, 16)

    def ours(x, scale, bias):
        return LayerNorm(1e-5).apply({"params": {"scale": scale, "bias": bias}}, x)

    def plain(x, scale, bias):
        variance = ((x - x.mean(-1, keepdims=True)) ** 2).mean(-1, keepdims=True)
        normalised = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(variance + 1e-5)
        return normalised * scale[None, None] + bias[None, None]

    np.testing.assert_allclose(ours(x, scale, bias), plain(x, scale, bias), rtol=1e-5, atol=1e-5)
    cotangent = normal(3, 4, 5, 16)
    gradients = [jax.vjp(f, x, scale, bias)[1](cotangent) for f in (ours, plain)]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_rms_norm_and_its_gradients():
    x, scale = 3 + 2 * normal(0, 4, 5, 16), normal(1, 16)

    def ours(x, scale):
        return RmsNorm(1e-2).apply({"params": {"scale": scale}}, x)

    def plain(x, scale):  # arXiv:1910.07467, equation 4
        return x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-2) * scale[None, None]

    np.testing.assert_allclose(ours(x, scale), plain(x, scale), rtol=1e-5, atol=1e-5)
    cotangent = normal(3, 4, 5, 16)
    gradients = [jax.vjp(f, x, scale)[1](cotangent) for f in (ours, plain)]
    for a, b in zip(*gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_layer_norm_of_a_large_mean_loses_nothing():
    x = 1000 + normal(0, 2, 64)
    y = LayerNorm(1e-12).apply({"params": {"scale": jnp.ones(64), "bias": jnp.zeros(64)}}, x)
    exact = np.asarray(x, np.float64)
    exact = (exact - exact.mean(-1, keepdims=True)) / exact.std(-1, keepdims=True)
    np.testing.assert_allclose(y, exact, atol=1e-3)


def test_gelu_is_the_erf_one_and_gelu_tanh_its_approximation():
    x = np.linspace(-6, 6, 201, dtype=np.float32)
    exact = x * scipy.stats.norm.cdf(x)
    tanh = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    np.testing.assert_allclose(ACTIVATIONS["gelu"](jnp.asarray(x)), exact, atol=2e-6)
    np.testing.assert_allclose(ACTIVATIONS["gelu_tanh"](jnp.asarray(x)), tanh, atol=2e-6)
    slope = scipy.stats.norm.cdf(x) + x * scipy.stats.norm.pdf(x)
    np.testing.assert_allclose(jax.vmap(jax.grad(ACTIVATIONS["gelu"]))(jnp.asarray(x)), slope, atol=2e-6)


def test_mlp_backward_equals_that_of_plain_autodiff():
    x = normal(0, 3, 8)
    mlp = Mlp(16, "gelu")
    params = mlp.init(jax.random.key(1), x)

    def plain(params, x):
        up, down = params["params"]["up"], params["params"]["down"]
        hidden = jax.nn.gelu(x @ up["kernel"] + up["bias"][None], approximate=False)
        return hidden @ down["kernel"] + down["bias"][None]

    gradients = [jax.grad(lambda p, f=f: (f(p, x) ** 2).sum())(params) for f in (mlp.apply, plain)]
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_gated_mlp_without_biases_and_its_gradients():
    x = normal(0, 3, 8)
    mlp = Mlp(16, "gelu_tanh", bias=False, gated=True)
    params = mlp.init(jax.random.key(1), x)
    assert jax.tree.map(jnp.shape, params["params"]) == {
        "up": {"kernel": (8, 16)},
        "gate": {"kernel": (8, 16)},
        "down": {"kernel": (16, 8)},
    }

    def plain(params, x):  # GEGLU of arXiv:2002.05202
        kernels = {name: part["kernel"] for name, part in params["params"].items()}
        return (jax.nn.gelu(x @ kernels["gate"]) * (x @ kernels["up"])) @ kernels["down"]

    gradients = [
        jax.grad(lambda p, x, f=f: (f(p, x) ** 2).sum(), (0, 1))(params, x) for f in (mlp.apply, plain)
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
    kernel = next(iter(module.init(jax.random.key(0), x)["params"].values()))
    assert abs(kernel.std() * 16 - 1) < 0.02
    assert np.abs(kernel).max() * 16 < 2.3  # twice the deviation before the cut


def test_kernels_start_as_a_truncated_normal():
    kernel = Dense((512,), stddev=0.02).init(jax.random.key(0), jnp.ones((1, 512)))["params"]["kernel"]
    kernel = np.asarray(kernel).ravel()
    assert np.abs(kernel).max() <= 0.04
    assert scipy.stats.kstest(kernel, scipy.stats.truncnorm(-2, 2, scale=0.02).cdf).pvalue > 1e-3


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean_and_drops_at_its_rate(rate):
    x = jnp.ones((64, 128, 128))
    y = np.asarray(dropout(x, rate, jax.random.key(0)))
    kept = y != 0
    # Five standard errors of a binomial share.
    assert abs(kept.mean() - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)


def test_dropout_is_the_identity_without_a_key_or_a_rate():
    x = normal(0, 3, 4)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


def test_dropout_backward_uses_the_same_mask():
    x = normal(0, 16, 16)
    y, back = jax.vjp(lambda x: dropout(x, 0.3, jax.random.key(1)), x)
    np.testing.assert_allclose(back(jnp.ones_like(x))[0] * x, y, rtol=1e-6)


def test_random_words_pass_statistical_tests():
    """Uniform bits, independent between neighbours in every direction, between rows, and between keys."""
    shape = (16, 32, 128)
    seeds = [jax.random.bits(jax.random.key(i), (2,), jnp.uint32) for i in range(2)]
    words, others = (np.asarray(random_words(seed, shape)) for seed in seeds)
    n = words.size
    bits = np.unpackbits(words.view(np.uint8)).reshape(n, 32)
    # Each bit is 1 half of the time, and no two bits of a word go together: five standard errors.
    assert np.abs(bits.mean(0) - 0.5).max() < 5 * 0.5 / np.sqrt(n)
    signs = 1.0 - 2.0 * bits
    correlations = signs.T @ signs / n - np.eye(32)
    assert np.abs(correlations).max() < 5.5 / np.sqrt(n)
    bytes_ = np.bincount((words >> 24).ravel(), minlength=256)
    assert scipy.stats.chisquare(bytes_).pvalue > 1e-4
    drop = (words < 0.1 * 2**32).astype(np.float64)
    other = (others < 0.1 * 2**32).astype(np.float64)
    pairs = [(drop[1:], drop[:-1]), (drop[:, 1:], drop[:, :-1]), (drop[..., 1:], drop[..., :-1])]
    pairs += [(drop[..., 2:], drop[..., :-2]), (drop, other)]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 5 / np.sqrt(a.size)
    # Counts over rows of 128 have the variance of a binomial: no stripes.
    counts = drop.sum(-1).ravel()
    assert scipy.stats.chi2.sf(((counts - 12.8) ** 2 / (128 * 0.09)).sum(), counts.size) > 1e-4


def test_dropout_does_not_depend_on_the_devices():
    x = normal(0, 16, 8, 32)
    alone = dropout(x, 0.2, jax.random.key(3))
    mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("data", "tensor"))
    spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data", None, "tensor")))
    drop = jax.jit(lambda x: dropout(x, 0.2, jax.random.key(3)))
    np.testing.assert_array_equal(drop(spread), alone)


def test_affine_under_tensor_parallelism_gathers_no_weights():
    """Heads cut over devices stay cut in the backward pass: the kernel's gradient needs no collective."""
    mesh = Mesh(np.array(jax.devices()[:2]), ("tensor",))
    place = lambda *axes: NamedSharding(mesh, PartitionSpec(*axes))  # noqa: E731
    kernel = jax.device_put(normal(0, 8, 3, 4, 5), place(None, None, "tensor", None))
    x = jax.device_put(normal(1, 2, 6, 8), place())
    cotangent = jax.device_put(normal(2, 2, 6, 3, 4, 5), place(None, None, None, "tensor", None))
    back = jax.jit(lambda x, k, g: jax.vjp(affine, x, k, jnp.zeros((3, 4, 5)))[1](g)[1])
    text = back.lower(x, kernel, cotangent).compile().as_text()
    assert not any(word in text for word in ("all-gather", "all-reduce", "all-to-all", "collective-permute"))
