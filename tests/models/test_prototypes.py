"""The head with prototypes against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.prototypes import PrototypeHead
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, shard

MLP = MlpConfig((8,), 4, last_norm="none", last_bias=True)
X = 0.1 + 0.5 * jax.random.normal(jax.random.key(1), (16, 6))


def unit(x, axis):
    return x / np.linalg.norm(x, axis=axis, keepdims=True)


def test_outputs_are_cosines_of_the_perceptron_and_the_prototypes():
    head = PrototypeHead(MLP, 5)
    variables = head.init(jax.random.key(0), X, True)
    found, changed = head.apply(variables, X, True, mutable=["batch_stats"])
    inner = {name: variables[name]["mlp"] for name in ("params", "batch_stats")}
    x, _ = ProjectionMlp(MLP).apply(inner, X, True, mutable=["batch_stats"])
    kernel = np.float64(variables["params"]["kernel"])
    assert kernel.shape == (4, 5)
    np.testing.assert_allclose(found, unit(np.float64(x), 1) @ unit(kernel, 0), rtol=1e-4, atol=1e-6)
    before, after = (v["batch_stats"]["mlp"]["norm1"]["mean"] for v in (variables, changed))
    assert (before != after).all()


def test_the_length_of_a_prototype_has_no_effect_and_no_gradient():
    """A weight normalisation whose scale stays 1: the gradient of a column is at right angles to it."""
    head = PrototypeHead(MLP, 5)
    variables = head.init(jax.random.key(0), X, False)

    def outputs(kernel):
        return head.apply({**variables, "params": {**variables["params"], "kernel": kernel}}, X, False)

    kernel = variables["params"]["kernel"]
    np.testing.assert_allclose(outputs(3 * kernel), outputs(kernel), rtol=1e-5, atol=1e-6)
    gradient = jax.grad(lambda k: jnp.square(outputs(k)).sum())(kernel)
    assert (jnp.abs(gradient).max(0) > 1e-3).all()
    np.testing.assert_allclose((gradient * kernel).sum(0), 0, atol=1e-4)


def test_eight_devices_equal_one():
    head = PrototypeHead(MLP, 8192)  # the prototypes are large enough to be cut by fsdp
    variables = head.init(jax.random.key(0), X, False)

    @jax.jit
    def both(variables, x):
        return jax.value_and_grad(lambda v: jnp.square(head.apply(v, x, False)).mean())(variables)

    alone = both(variables, X)
    mesh = make_mesh(MeshConfig(data=2, fsdp=4))
    with jax.set_mesh(mesh):
        placed = jax.device_put(variables, shard(mesh, (), variables))
        assert not placed["params"]["kernel"].sharding.is_fully_replicated
        spread = both(placed, jax.device_put(X, batch_sharding(mesh)))
    for ours, wanted in zip(*map(jax.tree.leaves, (spread, alone)), strict=True):
        # Some gradients are small differences of large sums, whose order depends on the processor.
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5 * float(jnp.abs(wanted).max()))


def test_half_precision_has_float32_outputs():
    head = PrototypeHead(MlpConfig((8,), 4, last_norm="none", dtype="bfloat16"), 5)
    variables = head.init(jax.random.key(0), X, False)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert head.apply(variables, X, False).dtype == jnp.float32
