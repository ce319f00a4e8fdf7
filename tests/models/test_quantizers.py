"""Codes without a codebook against NumPy from the papers: finite scalars, signs, Bernoulli bits, Gumbel-softmax."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.models.quantizers import (
    FsqConfig,
    bernoulli_bits,
    bits_to_codes,
    bound,
    codes_to_bits,
    finite_scalar,
    finite_scalar_vectors,
    gumbel_softmax,
    lookup_free,
    lookup_free_vectors,
    straight_through,
)

LEVELS = [(8, 5, 5, 5), (2, 3, 4), (2,), (7, 2), (255, 256)]
SHAPES = [(), (7,), (3, 5), (2, 3, 4)]


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
    ours = finite_scalar(FsqConfig(levels), jnp.asarray(x))
    numbers, vectors = fsq_of_the_paper(levels, x)
    np.testing.assert_allclose(ours.vectors, vectors, rtol=1e-6)
    np.testing.assert_array_equal(
        ours.codes, np.ravel_multi_index(tuple(np.moveaxis(numbers, -1, 0)), levels, order="F")
    )


@pytest.mark.parametrize("levels", LEVELS[:4])
def test_fsq_reaches_every_level_and_no_other_and_leaves_0_at_the_middle(levels):
    config = FsqConfig(levels)
    ramp = jnp.linspace(-20, 20, 2001)[:, None] * jnp.ones((1, len(levels)))
    reached = np.asarray(finite_scalar(config, ramp).vectors)
    for column, n in zip(reached.T, levels, strict=True):
        np.testing.assert_allclose(np.unique(column), (np.arange(n) - n // 2) / (n // 2), rtol=1e-6)
    assert (np.asarray(finite_scalar(config, jnp.zeros(len(levels))).vectors) == 0).all()


@pytest.mark.parametrize("levels", LEVELS)
def test_fsq_codes_are_numbered_from_0_and_name_their_vectors(levels):
    config = FsqConfig(levels)
    codes = jnp.arange(config.codes).reshape(-1, 1)
    vectors = finite_scalar_vectors(config, codes)
    assert vectors.shape == (config.codes, 1, len(levels))
    assert len(np.unique(np.asarray(vectors), axis=0)) == config.codes
    # The middle of a level is what the bound makes of some x: here, by its inverse.
    middles = np.float64(vectors) * (np.asarray(levels) // 2)
    half = (np.asarray(levels) - 1) * (1 - 1e-3) / 2
    offset = np.where(np.asarray(levels) % 2, 0, 0.5)
    x = np.arctanh(np.clip((middles + offset) / half, -0.9999999, 0.9999999)) - np.tan(offset / half)
    back = finite_scalar(config, jnp.asarray(x, jnp.float32))
    np.testing.assert_array_equal(back.codes, codes)
    np.testing.assert_array_equal(back.vectors, vectors)


def test_the_gradient_of_fsq_is_that_of_its_bound():
    config, x, back = FsqConfig((8, 5, 2)), jnp.asarray(normal((4, 3))), jnp.asarray(normal((4, 3), 1))
    ours = jax.grad(lambda x: jnp.sum(finite_scalar(config, x).vectors * back))(x)
    wanted = jax.grad(lambda x: jnp.sum(bound(config, x) / jnp.array([[4.0, 2.0, 1.0]]) * back))(x)
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    assert (np.abs(ours) > 0).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_signs_and_their_numbers(shape):
    x = normal((*shape, 5))
    x[..., 0] = 0  # which is negative
    ours = lookup_free(jnp.asarray(x))
    np.testing.assert_array_equal(ours.vectors, np.where(x > 0, 1, -1))
    np.testing.assert_array_equal(ours.codes, ((x > 0) * 2 ** np.arange(5)).sum(-1))
    np.testing.assert_array_equal(lookup_free_vectors(ours.codes, 5), ours.vectors)
    back = normal((*shape, 5), seed=1)
    np.testing.assert_array_equal(jax.vjp(lambda x: lookup_free(x).vectors, jnp.asarray(x))[1](back)[0], back)


def test_all_numbers_of_31_bits_are_written_and_read():
    numbers = jnp.array([0, 1, 2**30, 2**31 - 1, 123_456_789], jnp.int32)
    bits = codes_to_bits(numbers, 31)
    np.testing.assert_array_equal(bits, [[n >> i & 1 for i in range(31)] for n in numbers.tolist()])
    np.testing.assert_array_equal(bits_to_codes(bits), numbers)


def test_half_precision_has_the_codes_of_its_values_and_keeps_its_type():
    x = jnp.asarray(normal((50, 4), scale=2.0)).astype(jnp.bfloat16)
    config = FsqConfig((8, 5, 5, 256))
    for half, full in (
        (finite_scalar(config, x), finite_scalar(config, x.astype(jnp.float32))),
        (lookup_free(x),) * 2,
    ):
        assert half.vectors.dtype == jnp.bfloat16
        np.testing.assert_array_equal(half.codes, full.codes)
    assert gumbel_softmax(jax.random.key(0), x, 1.0, hard=True).dtype == jnp.bfloat16
    assert bernoulli_bits(x, jax.random.key(0)).dtype == jnp.bfloat16


def test_straight_through_is_exact_where_a_difference_is_rounded():
    value, x = jnp.float32(0.1), jnp.float32(12345.678)
    assert x + (value - x) != value
    assert straight_through(value, x) == value
    assert jax.grad(straight_through, argnums=1)(value, x) == 1
    assert jax.grad(straight_through)(value, x) == 0


LOGITS = np.array([-3.0, -0.5, 0.0, 1.0, 4.0], np.float32)


def test_bernoulli_bits_have_their_probabilities_and_the_gradient_of_them():
    draws, logits = 20_000, jnp.asarray(LOGITS)
    bits = np.asarray(bernoulli_bits(jnp.broadcast_to(logits, (draws, 5)), jax.random.key(0)))
    assert set(np.unique(bits)) == {0, 1}
    p = 1 / (1 + np.exp(-np.float64(LOGITS)))
    assert (np.abs(bits.mean(0) - p) < 4 * np.sqrt(p * (1 - p) / draws)).all()
    np.testing.assert_array_equal(bernoulli_bits(logits), [0, 0, 0, 1, 1])
    for rng in (None, jax.random.key(1)):
        slope = jax.grad(lambda logits, rng=rng: bernoulli_bits(logits, rng).sum())(logits)
        np.testing.assert_allclose(slope, p * (1 - p), rtol=1e-5)


@functools.partial(jax.jit, static_argnames=("draws", "hard"))
def drawn(rng, temperature, draws, hard=False):
    return gumbel_softmax(rng, jnp.broadcast_to(jnp.asarray(LOGITS), (draws, 5)), temperature, hard=hard)


@pytest.mark.parametrize("temperature", [0.01, 1.0, 50.0])
def test_classes_of_gumbel_softmax_are_drawn_with_their_probabilities(temperature):
    """The largest is a class drawn from softmax(logits), whatever the temperature."""
    draws = 20_000
    classes = np.asarray(drawn(jax.random.key(0), temperature, draws)).argmax(-1)
    expected = draws * np.exp(LOGITS) / np.exp(LOGITS).sum()
    chi_square = (np.square(np.bincount(classes, minlength=5) - expected) / expected).sum()
    assert chi_square < 18.5  # 4 degrees of freedom, 1 in 1,000


def test_gumbel_softmax_at_both_ends_of_its_temperature():
    rng = jax.random.key(3)
    noisy = LOGITS + np.asarray(jax.random.gumbel(rng, (50, 5)))
    cold = drawn(rng, 1e-4, 50)
    np.testing.assert_allclose(cold, np.eye(5)[noisy.argmax(-1)], atol=1e-6)
    np.testing.assert_allclose(drawn(rng, 1e6, 50), np.full((50, 5), 0.2), atol=1e-4)
    exact = np.exp(noisy / 0.7)
    np.testing.assert_allclose(drawn(rng, 0.7, 50), exact / exact.sum(-1, keepdims=True), rtol=1e-4)


def test_hard_gumbel_softmax_is_one_hot_with_the_gradient_of_the_soft_one():
    rng, logits, back = jax.random.key(5), jnp.asarray(normal((6, 5))), jnp.asarray(normal((6, 5), 1))

    @functools.partial(jax.jit, static_argnames="hard")
    def both(logits, hard):
        value, pull = jax.vjp(lambda logits: gumbel_softmax(rng, logits, 0.5, hard=hard), logits)
        return value, pull(back)[0]

    (soft, soft_slope), (hard, hard_slope) = both(logits, False), both(logits, True)
    np.testing.assert_array_equal(hard, np.eye(5)[np.asarray(soft).argmax(-1)])
    np.testing.assert_allclose(hard_slope, soft_slope, rtol=1e-6)
    assert (np.abs(soft_slope) > 0).all()


@pytest.mark.parametrize("levels", [(), (1,), (8, 1), (0,), (2**16, 2**15)])
def test_levels_that_cannot_be(levels):
    with pytest.raises(UserError, match=r"fsq.levels"):
        FsqConfig(levels)


def test_inputs_that_do_not_fit():
    with pytest.raises(UserError, match=r"of 4 channels was given .*\(2, 3\).*fsq.levels"):
        finite_scalar(FsqConfig(), jnp.zeros((2, 3)))
    with pytest.raises(UserError, match="of 32 channels"):
        lookup_free(jnp.zeros((2, 32)))
    for temperature in (0, 0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="temperature"):
            gumbel_softmax(jax.random.key(0), jnp.zeros((2, 3)), temperature)


def test_sizes():
    assert FsqConfig().codes == 1000
    assert FsqConfig().width == 4
    assert [FsqConfig(levels).codes for levels in itertools.islice(LEVELS, 3)] == [1000, 24, 2]
