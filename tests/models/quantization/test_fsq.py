"""Finite scalar quantisation, against NumPy from the paper."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.quantization import fsq as quantizer
from ssl_jax.models.quantization.fsq import FsqConfig, bound

fsq = jax.jit(quantizer.fsq, static_argnums=0)
fsq_vectors = jax.jit(quantizer.fsq_vectors, static_argnums=0)

LEVELS = [(8, 5, 5, 5), (2, 3, 4), (2,), (7, 2), (255, 256)]


def normal(shape, seed=0, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def fsq_of_the_paper(levels, x):
    """arXiv:2309.15505, appendix A.1, channel by channel: levels counted from 0, and vectors within [-1, 1]."""
    numbers, vectors = np.zeros(x.shape, int), np.zeros(x.shape)
    for i, n in enumerate(levels):
        half = (n - 1) * (1 - 1e-3) / 2
        offset = 0.0 if n % 2 else 0.5
        rounded = np.round(np.tanh(np.float64(x[..., i]) + np.tan(offset / half)) * half - offset)
        numbers[..., i] = rounded + n // 2
        vectors[..., i] = rounded / (n // 2)
    return numbers, vectors


@pytest.mark.parametrize("levels", LEVELS)
def test_fsq_is_the_papers(levels):
    x = normal((200, 3, len(levels)), scale=2.0)
    ours = fsq(FsqConfig(levels), jnp.asarray(x))
    numbers, vectors = fsq_of_the_paper(levels, x)
    np.testing.assert_allclose(ours.vectors, vectors, rtol=1e-6)
    np.testing.assert_array_equal(
        ours.codes, np.ravel_multi_index(tuple(np.moveaxis(numbers, -1, 0)), levels, order="F")
    )


@pytest.mark.parametrize("levels", LEVELS[:4])
def test_fsq_reaches_every_level_and_no_other_and_leaves_0_at_the_middle(levels):
    config = FsqConfig(levels)
    ramp = np.repeat(np.linspace(-20, 20, 2001, dtype=np.float32)[:, None], len(levels), axis=1)
    reached = np.asarray(fsq(config, ramp).vectors)
    for column, n in zip(reached.T, levels, strict=True):
        np.testing.assert_allclose(np.unique(column), (np.arange(n) - n // 2) / (n // 2), rtol=1e-6)
    assert (np.asarray(fsq(config, jnp.zeros(len(levels))).vectors) == 0).all()


@pytest.mark.parametrize("levels", LEVELS)
def test_fsq_codes_are_numbered_from_0_and_name_their_vectors(levels):
    config = FsqConfig(levels)
    codes = np.arange(config.codes, dtype=np.int32).reshape(-1, 1)
    vectors = fsq_vectors(config, codes)
    assert vectors.shape == (config.codes, 1, len(levels))
    assert len(np.unique(np.asarray(vectors), axis=0)) == config.codes
    # The middle of a level is what the bound makes of some x: here, by its inverse.
    middles = np.float64(vectors) * (np.asarray(levels) // 2)
    half = (np.asarray(levels) - 1) * (1 - 1e-3) / 2
    offset = np.where(np.asarray(levels) % 2, 0, 0.5)
    x = np.arctanh(np.clip((middles + offset) / half, -0.9999999, 0.9999999)) - np.tan(offset / half)
    back = fsq(config, jnp.asarray(x, jnp.float32))
    np.testing.assert_array_equal(back.codes, codes)
    np.testing.assert_array_equal(back.vectors, vectors)


def test_the_gradient_of_fsq_is_that_of_its_bound():
    config, x, back = FsqConfig((8, 5, 2)), jnp.asarray(normal((4, 3))), jnp.asarray(normal((4, 3), 1))
    ours = jax.jit(jax.grad(lambda x: jnp.sum(fsq(config, x).vectors * back)))(x)
    steps = np.array([[4, 2, 1]], np.float32)
    wanted = jax.jit(jax.grad(lambda x: jnp.sum(bound(config, x) / steps * back)))(x)
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    assert (np.abs(np.asarray(ours)) > 0).all()


@pytest.mark.parametrize("levels", [(), (1,), (8, 1), (0,), (2**16, 2**15)])
def test_wrong_levels_are_refused(levels):
    with pytest.raises(UserError, match=r"(fsq|FsqConfig)\.levels"):
        FsqConfig(levels)


def test_number_of_codes_and_channels():
    assert FsqConfig().codes == 1000
    assert FsqConfig().width == 4
    assert [FsqConfig(levels).codes for levels in itertools.islice(LEVELS, 3)] == [1000, 24, 2]


def test_another_number_of_channels_is_refused():
    with pytest.raises(UserError, match=r"of 4 channels was given .*\(2, 3\).*fsq.levels"):
        fsq(FsqConfig(), jnp.zeros((2, 3)))


def test_half_precision_has_the_codes_of_its_values_and_keeps_its_type():
    x = jnp.asarray(normal((50, 4), scale=2.0)).astype(jnp.bfloat16)
    config = FsqConfig((8, 5, 5, 256))
    half, full = fsq(config, x), fsq(config, x.astype(jnp.float32))
    assert half.vectors.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half.codes, full.codes)
