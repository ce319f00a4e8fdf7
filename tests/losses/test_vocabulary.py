"""Cross-entropy over a vocabulary in tiles: the plain formula, in value and gradient, on any mesh."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses import vocabulary
from ssl_jax.losses.vocabulary import predict_tokens
from ssl_jax.ops.affine import OutputLayer
from ssl_jax.training.planning import product_flops
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh

SHAPE, WIDTH, VOCAB = (8, 75), 12, 50


def example(dtype="float32", *, bias=True, seed=0):
    """(output layer, labels, weights) of 8 rows, whose tokens do not divide into tiles of 128."""
    rng = np.random.default_rng(seed)
    hidden = jnp.asarray(rng.normal(size=(*SHAPE, WIDTH)), dtype)
    table = jnp.float32(rng.normal(size=(VOCAB, WIDTH)))
    labels = rng.integers(0, VOCAB, SHAPE).astype(np.int32)
    weights = rng.integers(0, 3, SHAPE).astype(np.float32)
    return OutputLayer(hidden, table, jnp.float32(rng.normal(size=VOCAB)) if bias else None), labels, weights


def value_and_gradient(output, labels, weights):
    """((3 times the summed loss, (weight, right)), gradient by the output layer)."""

    def loss(output):
        (total, weight), right = predict_tokens(output, labels, weights)
        return 3 * total, (weight, right)

    return jax.value_and_grad(loss, has_aux=True)(output)


@pytest.fixture
def tiled(monkeypatch):
    """A function that turns tiles of 128 tokens on."""

    def turn_on():
        monkeypatch.setattr(vocabulary, "TILED_FROM", 0)
        monkeypatch.setattr(vocabulary, "TILE", 128 * VOCAB)

    return turn_on


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("bfloat16", 2e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_tiles_are_the_plain_formula(dtype, tolerance, bias, tiled):
    output, labels, weights = example(dtype, bias=bias)
    (plain, plain_aux), plain_gradient = jax.jit(value_and_gradient)(output, labels, weights)
    tiled()
    (found, aux), gradient = jax.jit(lambda *a: value_and_gradient(*a))(output, labels, weights)
    np.testing.assert_allclose(found, plain, rtol=tolerance)
    assert aux[0] == plain_aux[0]
    if dtype == "float32":
        np.testing.assert_array_equal(aux[1], plain_aux[1])
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(plain_gradient), strict=True):
        assert one.dtype == other.dtype
        one, other = np.float32(one), np.float32(other)
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance * np.abs(other).max())


def test_of_equal_logits_the_first_counts(tiled):
    output = OutputLayer(jnp.ones((8, 1)), jnp.float32([[1.0], [2.0], [2.0], [0.0]]))
    labels = np.int32([0, 1, 2, 3, 0, 1, 2, 3])
    tiled()
    np.testing.assert_array_equal(predict_tokens(output, labels, np.ones(8, np.float32)).right, labels == 1)


def test_an_evaluation_computes_no_gradient(tiled):
    output, labels, weights = example()
    tiled()
    (total, _), _ = predict_tokens(output, labels, weights)
    (tripled, _), _ = value_and_gradient(output, labels, weights)
    np.testing.assert_allclose(3 * total, tripled, rtol=1e-6)
    products = [
        # Wrapped, since JAX remembers what a function that other tests trace was without tiles.
        product_flops(jax.make_jaxpr(lambda *a, of=function: of(*a))(output, labels, weights).jaxpr)
        for function in (predict_tokens, value_and_gradient)
    ]
    assert products[1] == 3 * products[0]


@pytest.mark.parametrize("mesh", [MeshConfig(), MeshConfig(fsdp=4), MeshConfig(fsdp=2, tensor=2)])
def test_devices_exchange_the_gradient_of_the_table_once(mesh, tiled):
    """Whatever the number of tiles: inside of their loop, devices of different examples exchange nothing."""
    output, labels, weights = example()
    expected = value_and_gradient(output, labels, weights)
    tiled()
    mesh = make_mesh(mesh)
    table = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tensor", "fsdp"))
    place = functools.partial(jax.device_put, device=batch_sharding(mesh))
    output = OutputLayer(place(output.hidden), jax.device_put(output.table, table), output.bias)
    arguments = output, place(labels), place(weights)
    with jax.set_mesh(mesh):
        step = jax.jit(lambda *a: value_and_gradient(*a)).lower(*arguments).compile()
    found = step(*arguments)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-4), found, expected)
    loops = re.findall(r"%[\w.]*(?:body|region)[\w.]* \(.*?\n}", step.as_text(), re.DOTALL)
    exchanged = [
        line
        for loop in loops
        for line in loop.splitlines()
        if f"f32[1,{VOCAB}" in line and "all-reduce" in line
    ]
    assert loops
    assert exchanged == []
