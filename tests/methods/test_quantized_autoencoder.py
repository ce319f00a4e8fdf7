"""VQ-VAE with every quantiser: what it minimises, what it leaves alone, and that it learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssl_jax.errors import UserError
from ssl_jax.methods.quantization import (
    LookupFreeConfig,
    ema_quantizer,
    fsq_quantizer,
    gradient_quantizer,
    lookup_free_quantizer,
)
from ssl_jax.methods.quantized_autoencoder import quantized_autoencoder
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.grid_autoencoder import GridAutoencoder
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.models.quantization.fsq import FsqConfig
from ssl_jax.training.step import make_initial_state, make_train_step, objective

BATCH, SIZE, STEPS = 16, 8, 60
NETWORK = ConvConfig(width=8, strides=(2,), residual_blocks=1, residual_width=4)
CODEBOOK = CodebookConfig(codes=8, width=4, kmeans=2)
QUANTIZERS = {
    "ema": ema_quantizer(CODEBOOK, 0.25),
    "gradient": gradient_quantizer(CODEBOOK, 0.25),
    "fsq": fsq_quantizer(FsqConfig((3, 3))),
    "lookup_free": lookup_free_quantizer(LookupFreeConfig(bits=3)),
}


def images(seed=0):
    """Bars of two brightnesses."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((BATCH, SIZE, SIZE, 1), np.uint8)
    for image in canvas:
        start, bright = rng.integers(0, SIZE - 2), rng.choice([120, 250])
        image[start : start + 2] = bright
    return {
        "image": jnp.asarray(canvas),
        "extent": jnp.full((BATCH, 2), SIZE, jnp.int32),
        "label": jnp.zeros(BATCH, jnp.int32),
        "example_weight": jnp.ones(BATCH),
    }


@functools.cache
def trained(name):
    """(the method, its state after some steps, losses of the first and of the last)."""
    made = quantized_autoencoder(NETWORK, QUANTIZERS[name], size=SIZE, channels=1, variance=0.1)
    optimizer = optax.adam(3e-3)
    state = jax.jit(make_initial_state(made.method, optimizer, batch=images(), seed=0))()
    step = jax.jit(make_train_step(made.method, optimizer, seed=0))
    errors = [0.0]
    for number in range(STEPS):
        state, bad = step(state, images(number))
        errors.append(float(state.metrics["error"][0] / BATCH))
        assert not int(bad)
    return made, state, np.diff(errors)


def pieces(state):
    return state.params, state.extras


@pytest.mark.parametrize("name", QUANTIZERS)
def test_it_learns_to_reconstruct(name):
    _, _, errors = trained(name)
    assert errors[-10:].mean() < 0.6 * errors[:5].mean()


def test_the_variance_is_that_of_the_pixels_of_the_batch():
    """Of those that count, in double precision; a batch of padding alone gives a number."""
    _, state, _ = trained("fsq")
    made = quantized_autoencoder(NETWORK, QUANTIZERS["fsq"], size=SIZE, channels=1, variance=None)
    loss = jax.jit(lambda batch: made.method.loss(*pieces(state), batch, jax.random.key(0)))
    batch = {**images(3), "example_weight": (jnp.arange(BATCH) < 9).astype(jnp.float32)}
    losses, aux = loss(batch)
    variance = np.var(np.asarray(batch["image"][:9], np.float64) / 255)
    error = aux.metrics["error"]
    np.testing.assert_allclose(losses["reconstruction_loss"].sum, error.sum / variance, rtol=1e-5)
    losses, _ = loss({**batch, "example_weight": jnp.zeros(BATCH)})
    assert float(losses["reconstruction_loss"].sum) == 0


@pytest.mark.parametrize("name", QUANTIZERS)
def test_metrics_are_those_of_the_codes(name):
    """The error of an evaluation is of what `decode` makes of the codes of `encode`, within the range of pixels."""
    made, state, _ = trained(name)
    batch = images(100)

    @jax.jit
    def both(params, extras):
        seen = made.preprocess(batch)
        codes = made.encode(params, extras, seen)
        return (
            made.method.evaluate(params, extras, batch, jax.random.key(0)),
            codes,
            made.decode(params, extras, codes),
            seen,
        )

    metrics, codes, reconstructed, seen = both(*pieces(state))
    assert codes.shape == (BATCH, SIZE // 2, SIZE // 2)
    assert codes.dtype == jnp.int32
    assert 0 <= int(codes.min()) <= int(codes.max()) < made.codes
    assert reconstructed.shape == seen.shape
    error = float(metrics["error"][0] / metrics["error"][1])
    assert float(jnp.square(reconstructed - seen).mean()) <= error * (1 + 1e-5)
    assert float(metrics["reconstruction_loss"][0] / BATCH) == pytest.approx(10 * error, rel=1e-5)
    counts = np.bincount(np.asarray(codes).ravel(), minlength=made.codes)
    shares = counts[counts > 0] / counts.sum()
    wanted = np.prod(shares**-shares)
    assert float(metrics["perplexity"][0] / BATCH) == pytest.approx(wanted, rel=1e-4)
    assert jax.eval_shape(made.represent, *pieces(state), batch).shape == (BATCH, 16 * QUANTIZERS[name].width)


@pytest.mark.parametrize("name", ["ema", "gradient"])
def test_an_evaluation_touches_no_state(name, monkeypatch):
    made, state, _ = trained(name)

    def never(*arguments):
        raise AssertionError("an evaluation has changed the codebook")

    for changing in ("initialize_from_batch", "accumulate", "ema_update", "restart_update"):
        monkeypatch.setattr(f"ssl_jax.methods.quantization.{changing}", never)
    assert "error" in jax.eval_shape(made.method.evaluate, *pieces(state), images(), jax.random.key(0))
    with pytest.raises(AssertionError):
        jax.eval_shape(made.method.loss, *pieces(state), images(), jax.random.key(0))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_images_without_weight_count_for_nothing(name):
    made, state, _ = trained(name)
    batch = images(100)
    kept = jnp.arange(BATCH) < 11
    evaluate = jax.jit(made.method.evaluate)
    one, other = (
        evaluate(*pieces(state), {**batch, "image": image, "example_weight": kept * 1.0}, jax.random.key(0))
        for image in (batch["image"], jnp.where(kept[:, None, None, None], batch["image"], 77))
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)
    assert {float(weight) for _, weight in one.values()} <= {11.0, 11.0 * 16}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_the_gradient_reaches_the_encoder_through_the_codes(name):
    """Also of the reconstruction alone."""
    made, state, _ = trained(name)

    @jax.jit
    @jax.grad
    def slope(params):
        losses, _ = made.method.loss(params, state.extras, images(), jax.random.key(0))
        return objective({"reconstruction_loss": losses["reconstruction_loss"]})

    found = slope(state.params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(found["network"]))
    if name == "gradient":
        assert np.abs(found["codebook"]).max() == 0  # which its own loss moves


def test_the_codebook_is_state_or_a_parameter():
    kinds = {name: {*trained(name)[1].extras, *trained(name)[1].params} for name in QUANTIZERS}
    assert kinds == {
        "ema": {"network", "codebook"},
        "gradient": {"network", "codebook"},
        "fsq": {"network"},
        "lookup_free": {"network"},
    }
    assert "codebook" not in trained("ema")[1].params
    assert "codebook" in trained("gradient")[1].params


def test_sequences_have_grids_of_one_axis():
    network = GridAutoencoder(NETWORK, 4, 3)
    clip = jax.ShapeDtypeStruct((2, 12, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), clip)
    assert jax.eval_shape(network.apply, variables, clip).shape == (2, 12, 3)
    encode = functools.partial(network.apply, method="encode")
    assert jax.eval_shape(encode, variables, clip).shape == (2, 6, 4)


def test_settings_that_cannot_be():
    with pytest.raises(UserError, match=r"LookupFreeConfig\.bits 0"):
        LookupFreeConfig(bits=0)
    with pytest.raises(UserError, match=r"LookupFreeConfig\.temperature 0"):
        LookupFreeConfig(temperature=0)
    with pytest.raises(UserError, match="size 9 is not divisible"):
        quantized_autoencoder(NETWORK, QUANTIZERS["ema"], size=9, channels=1)


def test_several_codes_at_a_place_are_parts_of_its_channels():
    """VQ-VAE's 8x8x10 codes of CIFAR-10 (arXiv:1711.00937, section 3.2): a mean over all of them in the commitment."""
    latents, bits, grid = 2, 3, SIZE // 2
    quantizer = QUANTIZERS["lookup_free"]
    made = quantized_autoencoder(NETWORK, quantizer, size=SIZE, channels=1, latents=latents)
    params = jax.jit(made.method.init)(jax.random.key(0), images())["params"]
    network = GridAutoencoder(NETWORK, latents * bits, 1)
    batch = images() | {"example_weight": jnp.ones(BATCH).at[0].set(0)}
    pixels = made.preprocess(batch)
    vectors = network.apply({"params": params["network"]}, pixels - 0.5, method="encode")
    signs = jnp.where(vectors > 0, 1.0, -1.0)

    codes = made.encode(params, {}, pixels)
    assert made.grid == (grid, grid, latents)
    assert codes.shape == (BATCH, *made.grid)
    looked_up = quantizer.look_up(params, {}, codes).reshape(BATCH, grid, grid, latents * bits)
    np.testing.assert_array_equal(looked_up, signs)
    decoded = network.apply({"params": params["network"]}, signs, method="decode") + 0.5
    np.testing.assert_allclose(made.decode(params, {}, codes), jnp.clip(decoded, 0, 1), rtol=1e-5)
    total, weight = made.method.evaluate(params, {}, batch, jax.random.key(0))["commitment_loss"]
    expected = 0.25 * np.square(np.float64(vectors - signs))[1:].mean()
    np.testing.assert_allclose(total / weight, expected, rtol=1e-5)
    assert weight == (BATCH - 1) * grid * grid * latents
