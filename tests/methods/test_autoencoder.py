"""A family of autoencoders: each as if it were alone, what counts, and restoration beside filters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.methods.autoencoder import Member, autoencoders, denoising_evaluation
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated
from ssl_jax.training.step import objective
from ssl_jax.transforms.corruption import corrupt, gaussian

NETWORK = AutoencoderConfig(hidden=(16,))
NOISE = functools.partial(gaussian, deviation=0.3)
RNG = jax.random.key(3)


def family(members, **options):
    return autoencoders(members, NETWORK, size=8, channels=1, **options)


@functools.cache
def digits(size=32):
    train = open_images(ImageConfig()).train
    rows = [train[i] for i in range(size)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {
        "example_weight": (np.arange(size) < 24).astype(np.float32)
    }


def gradients(made, params):
    def loss(params):
        losses, aux = made.method.loss(params, {}, digits(), RNG)
        return objective(losses), (losses, aux.metrics)

    (_, metrics), grads = jax.value_and_grad(loss, has_aux=True)(params)
    return grads, metrics


@pytest.mark.parametrize("kind", ["squared_error", "cross_entropy"])
def test_each_begins_and_learns_as_if_it_were_alone(kind):
    members = {"code_2": Member(2), "noisy": Member(5, NOISE), "code_5": Member(5)}
    alone = {name: family({name: member}, objective=kind) for name, member in members.items()}
    together = family(members, objective=kind)

    @jax.jit
    def both():
        params = {
            name: made.method.init(jax.random.key(0), digits())["params"] for name, made in alone.items()
        }
        joint = together.method.init(jax.random.key(0), digits())["params"]
        return (
            (params, {name: gradients(made, params[name]) for name, made in alone.items()}),
            (joint, gradients(together, joint)),
        )

    (params, found), (joint, (grads, (losses, metrics))) = both()
    for name in members:
        own_grads, (own_losses, own_metrics) = found[name]
        for ours, theirs in ((params[name][name], joint[name]), (own_grads[name], grads[name])):
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
        for metric, (total, weight) in (own_losses | own_metrics).items():
            assert metric in (f"{name}_error", f"{name}_cross_entropy")
            assert float((losses | metrics)[metric][0]) == pytest.approx(float(total), rel=1e-6)
            assert float(weight) == 24
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(grads))
    assert float(metrics.get("noisy_error", losses.get("noisy_error"))[0]) > 0


def test_metrics_are_those_of_numpy_and_rows_without_weight_do_not_count():
    made = family({"plain": Member(4), "noisy": Member(4, NOISE)}, objective="cross_entropy")
    evaluate = denoising_evaluation(made, {"gaussian": NOISE})
    params = jax.jit(made.method.init)(jax.random.key(0), digits())["params"]
    metrics = jax.jit(evaluate)(params, {}, digits(), RNG)
    images = digits()["image"].astype(np.float32) / 255
    noisy = np.asarray(jax.jit(lambda: corrupt(RNG, jnp.asarray(images), NOISE))())
    size = (1, 3, 3, 1)

    def reconstructed(name, shown):
        layers = jax.tree.map(np.asarray, params[name])
        x = shown.reshape(len(shown), -1)
        for half in ("encoder", "decoder"):
            x = x @ layers[half]["dense1"]["kernel"] + layers[half]["dense1"]["bias"]
            x = np.maximum(x, 0) @ layers[half]["dense2"]["kernel"] + layers[half]["dense2"]["bias"]
        return (1 / (1 + np.exp(-x))).reshape(shown.shape)

    expected = {
        "plain_error": reconstructed("plain", images),
        "noisy_error": reconstructed("noisy", noisy),
        "nothing_on_gaussian_error": noisy,
        "median_on_gaussian_error": ndimage.median_filter(noisy, size, mode="nearest"),
        "mean_on_gaussian_error": ndimage.uniform_filter(noisy, size, mode="nearest"),
        "plain_on_gaussian_error": reconstructed("plain", noisy),
        "noisy_on_gaussian_error": reconstructed("noisy", noisy),
    }
    assert metrics.keys() == expected.keys() | {"plain_cross_entropy", "noisy_cross_entropy"}
    for name, restored in expected.items():
        each = ((np.clip(restored, 0, 1) - images) ** 2).mean((1, 2, 3))
        total, weight = metrics[name]
        assert float(total) == pytest.approx(each[:24].sum(), rel=1e-4), name
        assert float(weight) == 24


def test_codes_are_of_images_without_noise_and_the_middle_is_what_is_seen():
    made = family({"noisy": Member(4, NOISE)}, centre=0.5)
    params = jax.jit(made.method.init)(jax.random.key(0), digits())["params"]
    encode = jax.jit(made.encode["noisy"])
    code = encode(params, {}, digits())
    assert code.shape == (32, 4)
    np.testing.assert_array_equal(code, encode(params, {}, digits()))
    image = digits()["image"].copy()
    image[:, :1], image[:, :, :1] = 0, 0  # the rim is not seen
    np.testing.assert_allclose(encode(params, {}, {**digits(), "image": image}), code, atol=1e-6)
    image[:, 3:5] = 0
    assert np.abs(encode(params, {}, {**digits(), "image": image}) - code).max() > 0.01


def test_losses_gradients_and_noise_are_the_same_on_eight_devices():
    made = family({"plain": Member(4), "noisy": Member(4, NOISE)})
    params = jax.jit(made.method.init)(jax.random.key(0), digits())["params"]

    def step(params, batch):
        losses, _ = made.method.loss(params, {}, batch, RNG)
        return objective(losses)

    found = []
    for devices in (1, 8):
        mesh = make_mesh(MeshConfig(), jax.devices()[:devices])
        with jax.set_mesh(mesh):
            batch = jax.device_put(digits(), batch_sharding(mesh))
            on_mesh = jax.device_put(params, replicated(mesh))
            found.append(jax.device_get(jax.jit(jax.value_and_grad(step))(on_mesh, batch)))
    for a, b in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
