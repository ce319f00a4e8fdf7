"""A prior over four codes of two kinds, small enough that all sixteen images can be enumerated."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from ssl_jax.decoding.scoring import continuation_log_likelihood
from ssl_jax.errors import UserError
from ssl_jax.methods.code_prior import PriorConfig, code_prior
from ssl_jax.methods.quantization import LookupFreeConfig, lookup_free_quantizer
from ssl_jax.methods.quantized_autoencoder import quantized_autoencoder
from ssl_jax.models.conv_autoencoder import ConvConfig

BATCH, SIZE, CODES, PLACES = 8, 4, 2, 4
NETWORK = ConvConfig(width=4, strides=(2,), residual_blocks=1, residual_width=2)
AUTOENCODER = quantized_autoencoder(
    NETWORK, lookup_free_quantizer(LookupFreeConfig(bits=1)), size=SIZE, channels=1
)
PRIOR = code_prior(
    PriorConfig(layers=1, width=8, heads=2, dropout=0.0, initializer_stddev=0.5),
    AUTOENCODER,
    size=SIZE,
    channels=1,
)
ALL = np.array(list(itertools.product(range(CODES), repeat=PLACES)), np.int32)


@functools.cache
def setting():
    """(params, extras, batch); the last image only fills up."""
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 1), np.uint8)
    batch = {
        "image": jnp.asarray(pixels),
        "extent": jnp.full((BATCH, 2), SIZE, jnp.int32),
        "label": jnp.zeros(BATCH, jnp.int32),
        "example_weight": jnp.ones(BATCH).at[-1].set(0),
    }
    extras = dict(jax.jit(PRIOR.method.init)(jax.random.key(0), batch))
    params = extras.pop("params")
    return params, {**extras, "deviation": jnp.float32(0.3)}, batch


@functools.cache
def log_probabilities():
    """Of all images, code after code as the decoder writes them."""
    params, *_ = setting()
    begins = np.full((len(ALL), 1), PRIOR.begin, np.int32)
    ones, lengths = np.ones(len(ALL), np.int32), np.full(len(ALL), PLACES, np.int32)
    return np.asarray(continuation_log_likelihood(PRIOR.decoder, params, begins, ones, ALL, lengths)).sum(1)


@functools.cache
def evaluated():
    return jax.jit(PRIOR.method.evaluate)(*setting(), jax.random.key(0))


def test_probabilities_of_all_images_sum_to_one():
    assert np.exp(log_probabilities()).sum() == pytest.approx(1, abs=1e-5)


def test_loss_is_that_of_the_codes_one_after_another():
    params, extras, batch = setting()
    found = np.asarray(jax.jit(PRIOR.encode)(params, extras, batch))
    assert found.shape == (BATCH, PLACES)
    assert len(np.unique(found)) == CODES
    numbers = found @ 2 ** np.arange(PLACES)[::-1]
    wanted = -log_probabilities()[numbers][:-1].sum()
    losses, aux = jax.jit(PRIOR.method.loss)(params, extras, batch, jax.random.key(0))
    for total, weight in (losses["code_loss"], evaluated()["code_loss"]):
        assert float(total) == pytest.approx(wanted, rel=1e-5)
        assert float(weight) == (BATCH - 1) * PLACES
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), aux.extras, extras))


def test_bits_per_dimension_are_those_of_codes_and_pixels():
    params, extras, batch = setting()
    reconstructed = np.asarray(
        jax.jit(PRIOR.decode)(extras, jax.jit(PRIOR.encode)(params, extras, batch)), float
    )
    pixels = np.asarray(batch["image"], float)
    upper = np.where(pixels == 255, np.inf, (pixels + 0.5) / 255)
    lower = np.where(pixels == 0, -np.inf, (pixels - 0.5) / 255)
    chance = norm.cdf(upper, reconstructed, 0.3) - norm.cdf(lower, reconstructed, 0.3)
    bits = -np.log2(chance[:-1]).mean()
    metrics = {name: float(total / weight) for name, (total, weight) in evaluated().items()}
    assert metrics["decoder_bits_per_dim"] == pytest.approx(bits, rel=1e-4)
    derived = PRIOR.derive(metrics)
    assert derived["prior_bits_per_dim"] == pytest.approx(
        metrics["code_loss"] / math.log(2) * PLACES / SIZE**2
    )
    assert derived["bits_per_dim"] == pytest.approx(bits + derived["prior_bits_per_dim"], rel=1e-4)
    error = np.square(reconstructed - pixels / 255).reshape(BATCH, -1).mean(1)
    np.testing.assert_allclose(jax.jit(PRIOR.error)(params, extras, batch)[:, 0], error, rtol=1e-4)


def test_samples_are_as_frequent_as_probable():
    params, *_ = setting()
    drawn = PRIOR.sample(params, 4000, 1)
    assert drawn.shape == (4000, PLACES)
    counts = np.bincount(drawn @ 2 ** np.arange(PLACES)[::-1], minlength=len(ALL))
    wanted = np.exp(log_probabilities())
    assert counts.shape == wanted.shape
    assert np.abs(counts / 4000 - wanted).max() < 4 * math.sqrt(0.25 / 4000)


def test_the_autoencoder_is_no_constant_of_the_step():
    traced = jax.make_jaxpr(jax.grad(lambda *a: PRIOR.method.loss(*a)[0]["code_loss"][0]))(
        *setting(), jax.random.key(0)
    )
    assert sum(np.size(constant) for constant in traced.consts) < 64


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"heads": 3}, "heads 3 must divide width 64"),
        ({"layers": 0}, "layers 0"),
        ({"dropout": 1.0}, "dropout 1.0"),
    ],
)
def test_settings_that_cannot_be(settings, named):
    with pytest.raises(UserError, match=named):
        PriorConfig(**settings)


def test_scores_of_images_have_the_means_of_the_evaluation():
    params, extras, batch = setting()
    found = jax.jit(PRIOR.score)(params, extras, batch)
    codes = np.asarray(jax.jit(PRIOR.encode)(params, extras, batch))
    numbers = codes @ 2 ** np.arange(PLACES)[::-1]
    np.testing.assert_allclose(found["code_log_likelihood"], log_probabilities()[numbers], rtol=1e-4)
    means = {name: float(mean.sum / mean.weight) for name, mean in evaluated().items()}
    bits = np.mean(found["bits_per_dim"][:-1])
    assert bits == pytest.approx(PRIOR.derive(means)["bits_per_dim"], rel=1e-5)
