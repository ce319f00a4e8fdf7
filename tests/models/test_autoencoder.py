"""The whole network: dense against NumPy, convolutional by its shapes, and its code."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.autoencoder import Autoencoder, AutoencoderConfig
from ssl_jax.models.conv_autoencoder import ConvConfig

CONVOLUTIONAL = AutoencoderConfig(
    kind="convolutional",
    convolutional=ConvConfig(width=4, strides=(2, 2), residual_blocks=1, residual_width=2),
)


@pytest.mark.parametrize("code", ["linear", "sigmoid"])
def test_a_dense_autoencoder_is_the_product_of_matrices_that_the_paper_draws(code):
    network = Autoencoder(AutoencoderConfig(hidden=(7, 5), code=code), 3, (4, 2, 1))
    images = np.random.default_rng(0).random((6, 4, 2, 1), np.float32)
    logits, variables = jax.jit(network.init_with_output)(jax.random.key(0), images)
    params = jax.tree.map(np.asarray, variables["params"])

    def layers(x, half):
        assert list(half) == ["dense1", "dense2", "dense3"]
        for number, layer in enumerate(half.values()):
            x = (x if number == 0 else np.maximum(x, 0)) @ layer["kernel"] + layer["bias"]
        return x

    found = layers(images.reshape(6, 8), params["encoder"])
    found = 1 / (1 + np.exp(-found)) if code == "sigmoid" else found
    np.testing.assert_allclose(network.apply(variables, images, method="encode"), found, rtol=1e-5, atol=1e-6)
    expected = layers(found, params["decoder"]).reshape(images.shape)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert [layer["kernel"].shape for layer in params["decoder"].values()] == [(3, 5), (5, 7), (7, 8)]


@pytest.mark.parametrize("shape", [(8, 8, 3), (12, 2)], ids=["image", "sequence"])
def test_a_convolutional_one_codes_images_and_sequences(shape):
    network = Autoencoder(CONVOLUTIONAL, 5, shape)
    images = jnp.ones((2, *shape))
    variables = jax.jit(network.init)(jax.random.key(0), images)
    variables = jax.tree.map(lambda x: x + 0.1, variables)  # an output that begins with zeros tells nothing
    logits = jax.jit(network.apply)(variables, images)
    code = jax.jit(partial(network.apply, method="encode"))(variables, images)
    rebuilt = jax.jit(partial(network.apply, method="decode"))(variables, code)
    assert (code.shape, logits.shape, logits.dtype) == ((2, 5), images.shape, jnp.float32)
    np.testing.assert_allclose(rebuilt, logits, rtol=1e-5, atol=1e-6)
    assert float(jnp.abs(logits).max()) > 1e-3


def test_what_cannot_be_coded_is_told_without_building_it():
    CONVOLUTIONAL.check((28, 28, 1))
    with pytest.raises(UserError, match="size 30 is not divisible by the encoder's stride 4"):
        CONVOLUTIONAL.check((30, 30, 1))
    AutoencoderConfig().check((30, 30, 1))
    with pytest.raises(UserError, match=r"AutoencoderConfig\.hidden 0"):
        AutoencoderConfig(hidden=(8, 0))
