"""Detectors side by side: each learns of its own images alone, and its scores are the formulas'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.methods.one_class import detectors
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated

COUNT, SIZE, CODE, BATCH = 3, 4, 2, 5


@pytest.fixture(scope="module")
def made():
    return detectors(COUNT, AutoencoderConfig(hidden=(6,)), code_size=CODE, size=SIZE, channels=1)


@pytest.fixture(scope="module")
def params(made):
    return jax.jit(made.method.init)(jax.random.key(0), {})["params"]


@pytest.fixture(scope="module")
def gradient(made):
    def loss(params, batch):
        losses, _ = made.method.loss(params, {}, batch, jax.random.key(1))
        return sum(total / weight for total, weight in losses.values()), losses

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


def batch(*axes, seed=0):
    images = np.random.default_rng(seed).integers(0, 256, (*axes, SIZE, SIZE, 1), np.uint8)
    return {
        "image": images,
        "extent": np.full((*axes, 2), SIZE, np.int32),
        "label": np.zeros(axes, np.int32),
        "example_weight": np.ones(axes[0], np.float32),
    }


def one(params, place):
    return jax.tree.map(lambda leaf: np.asarray(leaf)[place], params)


def layer(params, name, x):
    return x @ np.asarray(params[name]["kernel"], np.float64) + np.asarray(params[name]["bias"])


def through(params, x):
    return layer(params, "dense2", np.maximum(layer(params, "dense1", x), 0))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(params, pixels):
    """(squared errors, minus the bounds in nats at the mean, codes) of `[batch, pixels]`, in float64."""
    code = through(params["plain"]["encoder"], pixels)
    error = np.square(sigmoid(through(params["plain"]["decoder"], code)) - pixels).mean(1)
    both = through(params["variational"]["encoder"], pixels)
    mean, log_variance = both[:, :CODE], both[:, CODE:]
    reconstructed = sigmoid(through(params["variational"]["decoder"], mean))
    variance = np.exp(2 * float(params["log_scale"]))
    density = -np.square(pixels - reconstructed) / (2 * variance) - np.log(2 * np.pi * variance) / 2
    kl = (mean**2 + np.exp(log_variance) - 1 - log_variance) / 2
    return error, kl.sum(1) - density.sum(1), code


def test_scores_against_numpy(made, params):
    shown = batch(BATCH)
    pixels = shown["image"].reshape(BATCH, -1) / 255
    examine = jax.jit(made.examine)
    for place in range(COUNT):
        own = one(params, place)
        found = examine(own, {}, shown)
        error, bound, code = by_hand(own, pixels)
        np.testing.assert_allclose(found[:, 0], error, rtol=1e-4)
        np.testing.assert_allclose(found[:, 1], bound, rtol=1e-4)
        np.testing.assert_allclose(found[:, 2:], code, rtol=1e-3, atol=1e-5)


def test_evaluation_means_normal_images_and_anomalies(made, params):
    shown = batch(BATCH)
    normal = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    real = np.array([1, 1, 1, 1, 0], np.float32)
    found = jax.jit(made.method.evaluate)(
        params, {}, {**shown, "normal": normal, "example_weight": real}, jax.random.key(0)
    )
    pixels = shown["image"].reshape(BATCH, -1) / 255
    errors, bounds, _ = zip(*(by_hand(one(params, place), pixels) for place in range(COUNT)), strict=True)
    for kind, mask in (("normal", normal), ("anomalous", 1 - normal)):
        weights = mask.T * real
        for name, values in (("error", errors), ("vae_loss", np.divide(bounds, SIZE * SIZE))):
            total, weight = found[f"{kind}_{name}"]
            np.testing.assert_allclose(total, (values * weights).sum(), rtol=1e-4)
            assert weight == weights.sum()


def test_no_detector_learns_of_the_images_of_another(params, gradient):
    shown = batch(BATCH, COUNT)
    other = {name: array.copy() for name, array in shown.items()}
    other["image"][:, 1] = batch(BATCH, seed=1)["image"]
    found, changed = (gradient(params, each)[1] for each in (shown, other))
    for place in range(COUNT):
        same = jax.tree.map(np.array_equal, one(found, place), one(changed, place))
        assert all(jax.tree.leaves(same)) == (place != 1)


def test_training_loss_is_the_mean_over_detectors(params, gradient):
    shown = batch(BATCH, COUNT)
    (_, losses), _ = gradient(params, shown)
    errors = [
        by_hand(one(params, place), shown["image"][:, place].reshape(BATCH, -1) / 255)[0]
        for place in range(COUNT)
    ]
    total, weight = losses["error"]
    assert float(total / weight) == pytest.approx(np.mean(errors), rel=1e-4)


def test_constant_images_leave_the_variance_above_zero(made, params, gradient):
    certain = {**params, "log_scale": jnp.full(COUNT, -50.0)}
    blank = batch(BATCH, COUNT)
    blank["image"][:] = 0
    (value, _), slopes = gradient(certain, blank)
    assert np.isfinite(value)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slopes))


def test_convolutional_detectors(made):
    network = AutoencoderConfig(kind="convolutional")
    convolutional = detectors(2, network, code_size=3, size=8, channels=3)
    params = jax.eval_shape(convolutional.method.init, jax.random.key(0), {})["params"]
    shown = {"image": jax.ShapeDtypeStruct((4, 8, 8, 3), jnp.uint8)}
    shown["extent"] = jax.ShapeDtypeStruct((4, 2), jnp.int32)
    own = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), params)
    assert jax.eval_shape(convolutional.examine, own, {}, shown).shape == (4, 5)


def test_eight_devices_as_one(params, gradient):
    shown = batch(8, COUNT)
    mesh = make_mesh(MeshConfig())
    spread = jax.device_put(shown, batch_sharding(mesh))
    (value, _), slopes = gradient(params, shown)
    with jax.set_mesh(mesh):
        (other, _), spread_slopes = gradient(jax.device_put(params, replicated(mesh)), spread)
    assert float(other) == pytest.approx(float(value), rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), slopes, spread_slopes)
