"""Projection heads against NumPy, and the shapes of the papers' own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, shard

HEADS = {
    "SimCLR": MlpConfig((2048,), 128, last_norm="scale"),
    "SimCLR v2": MlpConfig((2048, 2048), 128, last_norm="scale"),
    "BYOL": MlpConfig((4096,), 256, last_norm="none"),
    "Barlow Twins": MlpConfig((8192, 8192), 8192, last_norm="none"),
    "SimSiam projector": MlpConfig((2048, 2048), 2048, last_norm="plain"),
    "SimSiam predictor": MlpConfig((512,), 2048, last_norm="none", last_bias=True),
    "MoCo v2": MlpConfig((2048,), 128, last_norm="none", last_bias=True, hidden_norm=False),
}
X = 0.1 + 0.5 * jax.random.normal(jax.random.key(1), (16, 6))


@functools.partial(jax.jit, static_argnums=(0, 3))
def outputs(config, variables, x, train):
    return ProjectionMlp(config).apply(variables, x, train, mutable=["batch_stats"])


def init(config, width=6):
    """Random parameters and statistics, none of them where it starts, so that a forgotten one shows."""
    x = jax.ShapeDtypeStruct((2, width), jnp.float32)
    shapes = jax.eval_shape(lambda x: ProjectionMlp(config).init(jax.random.key(0), x, True), x)
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.2, 1.2, leaf.shape), leaf.dtype), shapes)


def reference(config, variables, x, train):
    """The head in NumPy, and its statistics after the call."""
    values = {name: np.float64(leaf) for name, leaf in named_leaves(variables).items()}
    layers, x = len(config.hidden) + 1, np.float64(x)
    for layer in range(1, layers + 1):
        x = x @ values[f"params/dense{layer}/kernel"]
        hidden = layer < layers
        normalised = config.hidden_norm if hidden else config.last_norm != "none"
        if config.last_bias if not hidden else not config.hidden_norm:
            x = x + values[f"params/dense{layer}/bias"]
        if normalised:
            mean, var = f"batch_stats/norm{layer}/mean", f"batch_stats/norm{layer}/var"
            used = (x.mean(0), x.var(0)) if train else (values[mean], values[var])
            if train:
                values[mean] = 0.9 * values[mean] + 0.1 * used[0]
                values[var] = 0.9 * values[var] + 0.1 * used[1]
            x = (x - used[0]) / np.sqrt(used[1] + 1e-5)
        if normalised and (hidden or config.last_norm == "scale"):
            x = x * values[f"params/norm{layer}/scale"]
        if hidden:
            x = np.maximum(x + (values[f"params/norm{layer}/bias"] if normalised else 0), 0)
    return x, {name: leaf for name, leaf in values.items() if name.startswith("batch_stats")}


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(
    "config",
    [
        MlpConfig((8,), 4),
        MlpConfig((8, 7), 4, last_norm="plain"),
        MlpConfig((8,), 4, last_norm="none"),
        MlpConfig((8,), 4, last_norm="none", last_bias=True),
        MlpConfig((), 4),
        MlpConfig((8, 7), 4, last_norm="none", last_bias=True, hidden_norm=False),
        MlpConfig((8,), 4, hidden_norm=False),
    ],
)
def test_equals_numpy(config, train):
    variables = init(config)
    found, updated = outputs(config, variables, X, train)
    expected, statistics = reference(config, variables, X, train)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    updated = {
        f"batch_stats/{name}": leaf for name, leaf in named_leaves(updated.get("batch_stats", {})).items()
    }
    assert updated.keys() == statistics.keys()
    for name, leaf in updated.items():
        np.testing.assert_allclose(leaf, statistics[name], rtol=1e-5, err_msg=name)
        if not train:
            np.testing.assert_array_equal(leaf, named_leaves(variables)[name])


@pytest.mark.parametrize(
    ("head", "width", "expected"),
    [
        (
            "SimCLR",
            2048,
            {
                "dense1/kernel": (2048, 2048),
                "norm1": (2048,),
                "dense2/kernel": (2048, 128),
                "norm2/scale": (128,),
            },
        ),
        (
            "SimCLR v2",
            2048,
            {
                "dense1/kernel": (2048, 2048),
                "norm1": (2048,),
                "dense2/kernel": (2048, 2048),
                "norm2": (2048,),
                "dense3/kernel": (2048, 128),
                "norm3/scale": (128,),
            },
        ),
        ("BYOL", 2048, {"dense1/kernel": (2048, 4096), "norm1": (4096,), "dense2/kernel": (4096, 256)}),
        (
            "Barlow Twins",
            2048,
            {
                "dense1/kernel": (2048, 8192),
                "norm1": (8192,),
                "dense2/kernel": (8192, 8192),
                "norm2": (8192,),
                "dense3/kernel": (8192, 8192),
            },
        ),
        (
            "SimSiam projector",
            2048,
            {
                "dense1/kernel": (2048, 2048),
                "norm1": (2048,),
                "dense2/kernel": (2048, 2048),
                "norm2": (2048,),
                "dense3/kernel": (2048, 2048),
            },
        ),
        (
            "SimSiam predictor",
            2048,
            {
                "dense1/kernel": (2048, 512),
                "norm1": (512,),
                "dense2/kernel": (512, 2048),
                "dense2/bias": (2048,),
            },
        ),
        (
            "MoCo v2",
            2048,
            {
                "dense1/kernel": (2048, 2048),
                "dense1/bias": (2048,),
                "dense2/kernel": (2048, 128),
                "dense2/bias": (128,),
            },
        ),
    ],
)
def test_parameters_of_the_papers_heads(head, width, expected):
    """Read off the papers' code; a norm without a name of its parameter has both, scale and bias."""
    x = jax.ShapeDtypeStruct((2, width), jnp.float32)
    variables = jax.eval_shape(lambda x: ProjectionMlp(HEADS[head]).init(jax.random.key(0), x, True), x)
    names = {
        f"{name}{end}": shape
        for name, shape in expected.items()
        for end in (["/scale", "/bias"] if name.startswith("norm") and "/" not in name else [""])
    }
    assert {name: leaf.shape for name, leaf in named_leaves(variables["params"]).items()} == names


def test_eight_devices_equal_one():
    config = MlpConfig((64, 256), 64)  # the second kernel is large enough to be cut by fsdp
    variables, cotangent = init(config), jax.random.normal(jax.random.key(2), (16, 64))

    @jax.jit
    def call(variables, x, cotangent):
        def loss(params):
            z, updated = outputs(config, variables | {"params": params}, x, True)
            return (z * cotangent).sum(), (z, updated)

        grads, (z, updated) = jax.grad(loss, has_aux=True)(variables["params"])
        return z, updated, grads

    one = call(variables, X, cotangent)
    mesh = make_mesh(MeshConfig(fsdp=4))
    placed = [jax.device_put(variables, shard(mesh, (), variables))]
    placed += [jax.device_put(a, batch_sharding(mesh)) for a in (X, cotangent)]
    with jax.set_mesh(mesh):
        eight = call(*placed)
    assert not placed[0]["params"]["dense2"]["kernel"].sharding.is_fully_replicated
    for (name, a), b in zip(named_leaves(eight).items(), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * max(np.abs(b).max(), 1), err_msg=name)


def test_outputs_that_are_nearly_the_same_are_normalised_exactly():
    """At the onset of a collapse: E[x^2] - E[x]^2 would have no correct digit."""
    config = MlpConfig((), 6, last_norm="plain")
    variables = init(config)
    variables["params"]["dense1"]["kernel"] = jnp.eye(6)
    x = 100 + 0.02 * jax.random.normal(jax.random.key(1), (16, 6))
    expected, _ = reference(config, variables, x, True)
    np.testing.assert_allclose(outputs(config, variables, x, True)[0], expected, atol=0.01)


def test_kernels_start_with_variance_one_over_fan_in():
    params = ProjectionMlp(MlpConfig((64,), 4)).init(jax.random.key(0), jnp.ones((2, 256)), True)["params"]
    assert params["dense1"]["kernel"].std() == pytest.approx(1 / 16, rel=0.02)


def test_bfloat16_computes_nearly_the_same_from_float32_parameters():
    half, exact = MlpConfig((8,), 4, dtype="bfloat16"), MlpConfig((8,), 4)
    variables = ProjectionMlp(half).init(jax.random.key(0), X, True)
    (found, updated), (expected, _) = (outputs(config, variables, X, True) for config in (half, exact))
    assert {leaf.dtype for leaf in jax.tree.leaves((variables, found, updated))} == {jnp.dtype("float32")}
    assert np.any(found != expected)
    np.testing.assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden": (8, 0)}, "MlpConfig.hidden 0"),
        ({"features": 0}, "MlpConfig.features 0"),
        ({"last_bias": True}, "without effect"),
    ],
)
def test_wrong_configurations_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        MlpConfig(**fields)
