"""Variational autoencoders against NumPy and SciPy from the same draws: metrics, bounds, what counts, devices."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.errors import UserError
from ssl_jax.methods.variational import KlConfig, draw_data, image_key, variational_autoencoder
from ssl_jax.models.autoencoder import AutoencoderConfig
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh, replicated
from ssl_jax.training.step import objective

NETWORK, CODE, SAMPLES = AutoencoderConfig(hidden=(16,)), 3, 7
KL = KlConfig(beta=2.0, warmup_steps=4, free_nats=0.05)
RNG = jax.random.key(3)
KINDS = ("bernoulli", "gaussian")


@functools.cache
def digits(size=32):
    train = open_images(ImageConfig()).train
    rows = [train[i] for i in range(size)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {
        "example_weight": (np.arange(size) < 24).astype(np.float32)
    }


@functools.cache
def made(kind):
    return variational_autoencoder(NETWORK, code_size=CODE, size=8, channels=1, likelihood=kind, kl=KL)


class Found(NamedTuple):
    """Of one batch: what the method says, and the draws that it is of."""

    variables: dict
    losses: dict
    metrics: dict
    gradients: dict
    evaluated: dict
    data: np.ndarray
    code: np.ndarray
    bounds: np.ndarray
    many_noise: np.ndarray


@functools.cache
def found(kind):
    method = made(kind).method

    @jax.jit
    def everything():
        extras = dict(method.init(jax.random.key(0), digits()))
        params = extras.pop("params")

        def loss(params):
            losses, aux = method.loss(params, extras, digits(), RNG)
            return objective(losses), (losses, aux.metrics)

        (_, (losses, metrics)), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        data_rng, code_rng = jax.random.split(RNG)
        data = draw_data(data_rng, made(kind).preprocess(digits()), kind)
        noise = jax.random.normal(code_rng, (32, CODE))
        mean, log_variance = made(kind).posterior(params, data)
        many = jax.vmap(lambda rng: jax.random.normal(rng, (32, CODE)))(jax.random.split(code_rng, SAMPLES))
        return Found(
            {"params": params, **extras},
            losses,
            metrics,
            gradients,
            made(kind).method.evaluate(params, extras, digits(), RNG),
            data,
            mean + jnp.exp(log_variance / 2) * noise,
            made(kind).bounds(params, digits(), RNG, SAMPLES),
            many,
        )

    return jax.device_get(everything())


def dense(layers, x):
    x = x @ layers["dense1"]["kernel"] + layers["dense1"]["bias"]
    return np.maximum(x, 0) @ layers["dense2"]["kernel"] + layers["dense2"]["bias"]


def q(params, data):
    """(mean, standard deviation) of the code, in double precision."""
    layers = jax.tree.map(np.float64, params["network"]["encoder"])
    out = dense(layers, data.reshape(len(data), -1))
    return out[:, :CODE], np.exp(out[:, CODE:] / 2)


def log_p(kind, params, data, code):
    """log p(data | code), [batch]."""
    white = special.expit(dense(jax.tree.map(np.float64, params["network"]["decoder"]), code))
    data = data.reshape(len(data), -1)
    if kind == "bernoulli":
        return stats.bernoulli.logpmf(data, white).sum(-1)
    return stats.norm.logpdf(data, white, np.exp(params["log_variance"]["bias"] / 2)).sum(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_those_of_numpy_and_rows_without_weight_do_not_count(kind):
    x = found(kind)
    params = x.variables["params"]
    mean, deviation = q(params, x.data)
    likelihood = log_p(kind, params, x.data, x.code)[:24]
    divergence = ((mean**2 + deviation**2 - 1) / 2 - np.log(deviation))[:24]
    negative = divergence.sum(-1) - likelihood
    bits = negative / (64 * np.log(2)) + (8 if kind == "gaussian" else 0)
    wanted = {
        "reconstruction_loss": -likelihood.sum(),
        # Step 1 of 4 to a weight of 2.
        "kl_loss": 0.5 * np.maximum(divergence.mean(0), 0.05).sum() * 24,
        "negative_elbo": negative.sum(),
        "kl": divergence.sum(),
        "bits_per_dim": bits.sum(),
    }
    assert (x.losses | x.metrics).keys() == wanted.keys()
    for name, value in wanted.items():
        for metrics in (x.losses | x.metrics, x.evaluated):
            assert float(metrics[name][0]) == pytest.approx(value, rel=1e-4), name
            assert float(metrics[name][1]) == 24
    layers = jax.tree.map(np.float64, params["network"]["decoder"])
    images = digits()["image"][:24].reshape(24, -1) / 255
    error = np.square(special.expit(dense(layers, mean[:24])) - images).mean(-1).sum()
    assert float(x.evaluated["error"][0]) == pytest.approx(error, rel=1e-4)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(x.gradients))


@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_those_of_scipy(kind):
    """log of the mean of p(x|z) p(z) / q(z|x); and the mean of the log, with the divergence in closed form."""
    x = found(kind)
    params = x.variables["params"]
    mean, deviation = q(params, x.data)
    codes = mean + deviation * x.many_noise
    likelihoods = np.stack([log_p(kind, params, x.data, code) for code in codes])
    odds = (stats.norm.logpdf(codes) - stats.norm.logpdf(codes, mean, deviation)).sum(-1)
    weighted = special.logsumexp(likelihoods + odds, axis=0) - np.log(SAMPLES)
    plain = likelihoods.mean(0) - ((mean**2 + deviation**2 - 1) / 2 - np.log(deviation)).sum(-1)
    np.testing.assert_allclose(x.bounds, np.stack([plain, weighted], -1), rtol=1e-4)
    assert x.bounds[:, 0].mean() < x.bounds[:, 1].mean()


def test_data_are_coins_or_levels_with_noise():
    images = np.tile(np.array([0.0, 0.2, 1.0], np.float32), (20_000, 1))
    coins = np.asarray(draw_data(RNG, jnp.asarray(images), "bernoulli"))
    assert set(np.unique(coins)) == {0.0, 1.0}
    assert coins.mean(0) == pytest.approx([0, 0.2, 1], abs=0.01)
    noisy = np.asarray(draw_data(RNG, jnp.asarray(images), "gaussian"))
    np.testing.assert_array_equal(np.floor(noisy * 256), np.rint(images * 255))
    for column in noisy.T:
        assert stats.kstest(column * 256 % 1, stats.uniform.cdf).pvalue > 1e-3


def test_the_weight_of_the_divergence_rises_with_the_steps():
    method, extras = made("bernoulli").method, {"kl_weight": found("bernoulli").variables["kl_weight"]}
    seen = [float(extras["kl_weight"])]
    for step in range(1, 6):
        extras = method.after_update({}, extras, jnp.int32(step))
        seen.append(float(extras["kl_weight"]))
    assert seen == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


@pytest.mark.parametrize("kind", KINDS)
def test_loss_gradient_and_draws_are_the_same_on_eight_devices(kind):
    variables = dict(found(kind).variables)
    params = variables.pop("params")
    mesh = make_mesh(MeshConfig())
    with jax.set_mesh(mesh):
        batch = jax.device_put(digits(), batch_sharding(mesh))
        params, extras = jax.device_put((params, variables), replicated(mesh))
        step = jax.jit(jax.grad(lambda p: objective(made(kind).method.loss(p, extras, batch, RNG)[0])))
        gradients = jax.device_get(step(params))
    for a, b in zip(*map(jax.tree.leaves, (found(kind).gradients, gradients)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6 * max(1.0, np.abs(a).max()))


def test_settings_that_cannot_be():
    for name in ("beta", "warmup_steps", "free_nats"):
        with pytest.raises(UserError, match=rf"KlConfig\.{name} -1: expected"):
            KlConfig(**{name: -1})


def test_the_score_of_an_image_is_that_of_its_bounds_wherever_it_stands():
    """And not of the other images: `bounds` of a batch draws for its places."""
    method, params = made("gaussian"), found("gaussian").variables["params"]
    few = {name: value[:3] for name, value in digits().items()}

    @jax.jit
    def everything():
        score = method.score(SAMPLES, 5)
        turned = {name: value[::-1] for name, value in few.items()}
        alone = {name: value[1:2] for name, value in few.items()}
        bounds = method.bounds(params, alone, image_key(5, alone["image"][0]), SAMPLES)[0]
        return score(params, {}, few), score(params, {}, turned), bounds

    scores, turned, (plain, weighted) = everything()
    for name, values in scores.items():
        np.testing.assert_allclose(turned[name][::-1], values, rtol=1e-5)
    assert scores["elbo"][1] == pytest.approx(float(plain), rel=1e-5)
    assert scores["importance_weighted_bound"][1] == pytest.approx(float(weighted), rel=1e-5)
    bits = 8 - scores["importance_weighted_bound"] / (64 * np.log(2))
    np.testing.assert_allclose(scores["bits_per_dim"], bits, rtol=1e-5)


def test_images_have_keys_of_their_own():
    """Also those that have the same pixels in other places."""
    images = jnp.concatenate([digits()["image"][:3], digits()["image"][:3, ::-1]])
    keys = jax.random.key_data(jax.vmap(lambda image: image_key(0, image))(images))
    assert len(np.unique(keys, axis=0)) == 6
    assert (jax.random.key_data(image_key(0, images[2])) == keys[2]).all()
    assert (jax.random.key_data(image_key(1, images[2])) != keys[2]).any()
