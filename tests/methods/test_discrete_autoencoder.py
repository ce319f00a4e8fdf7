"""Real, binary and one-hot codes side by side: metrics against NumPy, gradients, what counts, devices, temperature."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.errors import UserError
from ssl_jax.methods.discrete_autoencoder import (
    GumbelConfig,
    discrete_autoencoders,
    imbalance,
    temperature_at,
)
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated
from ssl_jax.training.step import objective

SIZES = {"real": 3, "binary": 5, "one_hot": 4}
GUMBEL = GumbelConfig(first_temperature=2.0, last_temperature=0.5)
RNG = jax.random.key(3)
MADE = discrete_autoencoders(
    SIZES,
    AutoencoderConfig(hidden=(16,)),
    size=8,
    channels=1,
    steps=5,
    gumbel=GUMBEL,
    balance=0.3,
    objective="cross_entropy",
)


@functools.cache
def digits(size=32):
    train = open_images(ImageConfig()).train
    rows = [train[i] for i in range(size)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {
        "example_weight": (np.arange(size) < 24).astype(np.float32)
    }


def gradients(params, extras, batch):
    def loss(params):
        losses, aux = MADE.family.method.loss(params, extras, batch, RNG)
        return objective(losses), (losses, aux.metrics)

    (_, metrics), found = jax.value_and_grad(loss, has_aux=True)(params)
    return found, metrics


@functools.cache
def found():
    """(params, extras, gradients, (losses, metrics), evaluation, logits, codes, images) of one batch."""

    @jax.jit
    def everything():
        extras = dict(MADE.family.method.init(jax.random.key(0), digits()))
        params = extras.pop("params")
        return (
            params,
            extras,
            *gradients(params, extras, digits()),
            MADE.family.method.evaluate(params, extras, digits(), RNG),
            {kind: logits(params, extras, digits()) for kind, logits in MADE.logits.items()},
            {kind: encode(params, extras, digits()) for kind, encode in MADE.family.encode.items()},
            {
                kind: reconstruct(params, MADE.family.preprocess(digits()))
                for kind, reconstruct in MADE.family.reconstruct.items()
            },
            jax.random.uniform(RNG, (32, SIZES["binary"])),
            jax.random.gumbel(RNG, (32, SIZES["one_hot"])),
        )

    return jax.device_get(everything())


def decoded(params, kind, code):
    """Logits of the pixels."""
    layers = jax.tree.map(np.float64, params[kind]["decoder"])
    x = np.maximum(code @ layers["dense1"]["kernel"] + layers["dense1"]["bias"], 0)
    return x @ layers["dense2"]["kernel"] + layers["dense2"]["bias"]


def one_hot(numbers):
    return np.eye(SIZES["one_hot"])[numbers]


def wanted(params, codes):
    images = digits()["image"][:24].reshape(24, -1) / 255
    metrics = {}
    for kind, code in codes.items():
        logits = decoded(params, kind, code[:24])
        white = 1 / (1 + np.exp(-logits))
        entropy = -(images * np.log(white) + (1 - images) * np.log1p(-white))
        metrics[f"{kind}_cross_entropy"] = entropy.mean(-1).sum()
        metrics[f"{kind}_error"] = np.square(white - images).mean(-1).sum()
    shares = codes["one_hot"][:24].mean(0)
    return metrics | {"one_hot_perplexity": 24 * np.prod(shares**-shares)}


def test_evaluation_is_of_the_likelier_bits_and_classes_and_rows_without_weight_do_not_count():
    params, _, _, _, metrics, logits, codes, reconstructed, *_ = found()
    expected = {
        "real": logits["real"],
        "binary": (logits["binary"] > 0) * 1.0,
        "one_hot": one_hot(logits["one_hot"].argmax(-1)),
    }
    for kind, code in expected.items():
        np.testing.assert_array_equal(codes[kind], code)
        white = 1 / (1 + np.exp(-decoded(params, kind, code)))
        np.testing.assert_allclose(reconstructed[kind].reshape(32, -1), white, rtol=1e-4)
    values = wanted(params, expected)
    assert metrics.keys() == values.keys()
    for name, value in values.items():
        assert float(metrics[name][0]) == pytest.approx(value, rel=1e-4), name
        assert float(metrics[name][1]) == 24


def test_training_is_of_drawn_bits_and_classes():
    params, extras, _, (losses, metrics), _, logits, _, _, uniform, gumbel = found()
    assert float(extras["temperature"]) == 2
    codes = {
        "real": logits["real"],
        "binary": (uniform < 1 / (1 + np.exp(-logits["binary"]))) * 1.0,
        "one_hot": one_hot((logits["one_hot"] + gumbel).argmax(-1)),
    }
    values = wanted(params, codes)
    odds = np.exp(np.float64(logits["one_hot"][:24]))
    mean = (odds / odds.sum(-1, keepdims=True)).mean(0)
    values["one_hot_balance_loss"] = 0.3 * 24 * (np.log(4) + (mean * np.log(mean)).sum())
    ones = (1 / (1 + np.exp(-np.float64(logits["binary"][:24])))).mean(0)
    lack = np.log(2) + ones * np.log(ones) + (1 - ones) * np.log(1 - ones)
    values["binary_balance_loss"] = 0.3 * 24 * lack.mean()
    assert (losses | metrics).keys() == values.keys()
    balances = {"one_hot_balance_loss", "binary_balance_loss"}
    assert losses.keys() == balances | {f"{kind}_cross_entropy" for kind in SIZES}
    for name, value in values.items():
        assert float((losses | metrics)[name][0]) == pytest.approx(value, rel=1e-4), name


def test_every_encoder_has_a_gradient_through_its_code():
    for kind, layers in found()[2].items():
        for leaf in jax.tree.leaves(layers["encoder"]):
            assert np.abs(leaf).max() > 0, kind


def test_losses_and_gradients_are_the_same_on_eight_devices():
    params, extras, alone, (losses, metrics), *_ = found()
    mesh = make_mesh(MeshConfig())
    with jax.set_mesh(mesh):
        batch = jax.device_put(digits(), batch_sharding(mesh))
        together = jax.device_get(
            jax.jit(gradients)(*jax.device_put((params, extras), replicated(mesh)), batch)
        )
    for a, b in zip(*map(jax.tree.leaves, ((alone, (losses, metrics)), together)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_temperature_falls_from_first_to_last():
    extras = found()[1]
    seen = [float(extras["temperature"])]
    for step in range(1, 7):
        extras = MADE.family.method.after_update({}, extras, jnp.int32(step))
        seen.append(float(extras["temperature"]))
    np.testing.assert_allclose(seen, [*np.geomspace(2.0, 0.5, 5), 0.5, 0.5], rtol=1e-6)
    assert float(temperature_at(1, GUMBEL, 1)) == 2


def test_balance_is_zero_for_even_classes_and_largest_for_one():
    ones = jnp.ones(3)
    assert float(imbalance(jnp.eye(3), ones)[0]) == pytest.approx(0, abs=1e-6)
    always = jnp.tile(jnp.array([1.0, 0, 0]), (3, 1))
    assert float(imbalance(always, ones)[0] / 3) == pytest.approx(np.log(3))
    assert float(imbalance(jnp.stack([jnp.eye(3), always], 1), ones)[0] / 3) == pytest.approx(np.log(3) / 2)
    assert np.isfinite(imbalance(always, jnp.zeros(3))[0])


def test_settings_that_cannot_be():
    with pytest.raises(UserError, match=r"gumbel.last_temperature 2.0 must be at most"):
        GumbelConfig(last_temperature=2.0)
    with pytest.raises(UserError, match=r"GumbelConfig\.last_temperature 0"):
        GumbelConfig(last_temperature=0)
