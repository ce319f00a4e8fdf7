"""The three noises: how much, where, and by whose key."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ssl_jax.transforms.corruption import corrupt, gaussian, masking, salt_and_pepper

COUNT, SIZE, CHANNELS = 400, 10, 3
GREY = 0.25


@functools.cache
def noisy(noise, level):
    """[COUNT, SIZE, SIZE, CHANNELS] of grey images with noise."""
    images = jnp.full((COUNT, SIZE, SIZE, CHANNELS), GREY)
    add = jax.jit(lambda rng: corrupt(rng, images, lambda rng, image: noise(rng, image, level)))
    return np.asarray(add(jax.random.key(0)))


def test_gaussian_noise_is_normal_with_its_deviation_and_independent_of_place():
    added = (noisy(gaussian, 0.3) - GREY) / 0.3
    assert stats.kstest(added.ravel(), "norm").pvalue > 0.01
    assert added.min() < -3  # not clipped
    neighbours = np.corrcoef(added[:, :, 1:].ravel(), added[:, :, :-1].ravel())[0, 1]
    channels = np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]
    assert max(abs(neighbours), abs(channels)) < 0.02


@pytest.mark.parametrize("noise", [masking, salt_and_pepper])
@pytest.mark.parametrize(("share", "count"), [(0.25, 25), (0.204, 20), (1.0, 100), (0.0, 0)])
def test_as_many_pixels_as_asked_for_are_hidden_in_every_image_and_all_channels(noise, share, count):
    hidden = noisy(noise, share) != GREY
    assert (hidden.all(-1) == hidden.any(-1)).all()
    assert (hidden[..., 0].sum((1, 2)) == count).all()


@pytest.mark.parametrize("noise", [masking, salt_and_pepper])
def test_every_place_is_hidden_as_often_as_any_other(noise):
    hits = (noisy(noise, 0.25)[..., 0] != GREY).sum(0).ravel()
    # Without replacement within an image, the variance of a place's count is that of a coin.
    statistic = ((hits - COUNT / 4) ** 2 / (COUNT * 0.25 * 0.75)).sum()
    assert 0.001 < stats.chi2.sf(statistic, SIZE * SIZE - 1) < 0.999


def test_masked_pixels_are_black_and_salt_and_pepper_a_fair_coin():
    assert set(np.unique(noisy(masking, 0.25))) == {np.float32(0), np.float32(GREY)}
    values = noisy(salt_and_pepper, 0.25)
    assert set(np.unique(values)) == {np.float32(0), np.float32(GREY), np.float32(1)}
    salt = int((values[..., 0] == 1).sum())
    assert stats.binomtest(salt, COUNT * 25).pvalue > 0.01


def test_an_image_is_corrupted_by_its_own_key_and_place_in_the_batch():
    images = jax.random.uniform(jax.random.key(1), (4, 6, 6, 1))
    add = functools.partial(gaussian, deviation=0.5)
    rng = jax.random.key(2)
    found = corrupt(rng, images, add)
    other = corrupt(rng, images.at[0].set(0.0), add)
    np.testing.assert_array_equal(found[1:], other[1:])
    np.testing.assert_allclose(found[2], add(jax.random.split(rng, 4)[2], images[2]), rtol=1e-6)
    assert not np.allclose(found[0] - images[0], found[1] - images[1])
