"""Affine maps against NumPy, in half precision and over devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ssl_jax.ops.affine import affine, tied_logits


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


@pytest.mark.parametrize("shape", [(2, 5), (40, 2, 5)], ids=["few rows", "many"])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_tied_head_is_a_product_with_the_table(shape, with_bias):
    rng = np.random.default_rng(0)
    hidden, table, bias = (rng.standard_normal(s).astype(np.float32) for s in (shape, (7, 5), (7,)))
    found = tied_logits(jnp.asarray(hidden), jnp.asarray(table), jnp.asarray(bias) if with_bias else None)
    np.testing.assert_allclose(found, hidden @ table.T + (bias if with_bias else 0), rtol=1e-5, atol=1e-5)


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
