"""Encoder and decoder on images and sequences: their size, where they look, and how they begin."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.conv_autoencoder import ConvConfig, ConvDecoder, ConvEncoder, Convolution

SMALL = ConvConfig(width=8, strides=(2, 3), residual_blocks=2, residual_width=4)


def parameters(module, shape):
    params = jax.eval_shape(module.init, jax.random.key(0), jnp.zeros(shape))["params"]
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))


def test_parameters_are_those_of_vqvae():
    residual = 2 * ((9 * 128 * 32 + 32) + (32 * 128 + 128))
    down = (16 * 3 * 64 + 64) + (16 * 64 * 128 + 128) + (9 * 128 * 128 + 128)
    up = (9 * 64 * 128 + 128) + (16 * 128 * 64 + 64) + (16 * 64 * 3 + 3)
    assert parameters(ConvEncoder(ConvConfig()), (1, 32, 32, 3)) == down + residual
    assert parameters(ConvDecoder(ConvConfig(), 3), (1, 8, 8, 64)) == up + residual


def test_the_fine_resolutions_have_a_width_of_their_own():
    wide = ConvConfig(width=8, fine_width=6, strides=(2, 2), residual_blocks=0)
    down = (16 * 3 * 6 + 6) + (16 * 6 * 8 + 8) + (9 * 8 * 8 + 8)
    up = (9 * 5 * 8 + 8) + (16 * 8 * 6 + 6) + (16 * 6 * 3 + 3)
    assert parameters(ConvEncoder(wide), (1, 8, 8, 3)) == down
    assert parameters(ConvDecoder(wide, 3), (1, 2, 2, 5)) == up


@pytest.mark.parametrize("image", [(12, 18), (12,)], ids=["image", "sequence"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shapes_of_images_and_of_sequences(image, dtype):
    encoder, decoder = ConvEncoder(SMALL, dtype), ConvDecoder(SMALL, 3, dtype)
    x = jnp.zeros((2, *image, 3))
    grid, _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), x)
    assert (grid.shape, grid.dtype) == ((2, *(n // 6 for n in image), 8), jnp.dtype(dtype))
    rebuilt, variables = jax.eval_shape(decoder.init_with_output, jax.random.key(0), jnp.zeros(grid.shape))
    assert (rebuilt.shape, rebuilt.dtype) == (x.shape, jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("axes", [1, 2])
def test_a_shift_by_the_stride_is_a_shift_by_one_and_back(axes):
    """Both are made of convolutions alone, so that what moves in the image moves in the code, and the reverse."""
    config = ConvConfig(width=16, strides=(2, 2), residual_blocks=1, residual_width=4)
    image = np.zeros((1, *(64,) * axes, 1), np.float32)
    image[(0, *(slice(30, 34),) * axes)] = np.random.default_rng(0).normal(size=(*(4,) * axes, 1))
    encoder, decoder = ConvEncoder(config), ConvDecoder(config, 1)
    grid, encoding = jax.jit(encoder.init_with_output)(jax.random.key(0), image)
    moved = jax.jit(encoder.apply)(encoding, np.roll(image, 4, axis=1))
    assert float(jnp.abs(grid).max()) > 0.1
    np.testing.assert_allclose(moved, np.roll(grid, 1, axis=1), atol=1e-5)
    blank, decoding = jax.jit(decoder.init_with_output)(jax.random.key(1), grid)
    assert not np.asarray(blank).any()
    kernel = decoding["params"]["up1"]["kernel"]
    decoding["params"]["up1"]["kernel"] = 0.1 * jax.random.normal(jax.random.key(2), kernel.shape)
    rebuilt, again = jax.jit(jax.vmap(lambda grid: decoder.apply(decoding, grid)))(jnp.stack([grid, moved]))
    assert float(jnp.abs(rebuilt).max()) > 0.1
    np.testing.assert_allclose(again, np.roll(rebuilt, 4, axis=1), atol=1e-5)


@pytest.mark.parametrize("transposed", [False, True])
def test_layers_begin_with_the_variance_that_keeps_rectified_inputs_as_large_as_they_are(transposed):
    layer = Convolution(64, 4, 2, transposed=transposed)
    x = jax.random.normal(jax.random.key(0), (2, 16, 16, 64))
    y, _ = jax.jit(layer.init_with_output)(jax.random.key(1), x)
    assert float(jnp.square(y[:, 2:-2, 2:-2]).mean()) == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        (
            (28, 30),
            "size 28 is not divisible by the encoder's stride 6 (2 x 3); give images of size 24 or 30",
        ),
        ((4,), "give images of size 6, or other strides"),
    ],
)
def test_sizes_that_do_not_divide_are_named(sizes, named):
    with pytest.raises(UserError, match="divisible") as error:
        SMALL.coarse(sizes)
    assert named in str(error.value)
    with pytest.raises(UserError, match="divisible"):
        jax.eval_shape(ConvEncoder(SMALL).init, jax.random.key(0), jnp.zeros((1, *sizes, 1)))


@pytest.mark.parametrize(
    "wrong", [{"strides": ()}, {"strides": (2, 1)}, {"width": 1}, {"residual_blocks": -1}]
)
def test_shapes_that_cannot_be_built(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ConvConfig(**wrong)
