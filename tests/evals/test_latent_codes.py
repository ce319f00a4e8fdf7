"""Codes on a plane and between images, and which numbers of a code are active."""

import numpy as np
import pytest
from scipy.stats import norm

from ssl_jax.evals.latent_codes import code_activity, interpolations, latent_plane


def test_a_plane_of_codes_has_the_quantiles_of_the_prior():
    codes = latent_plane(np.array([9.0, 8.0, 7.0]), np.array([2, 0]), 4)
    assert codes.shape == (16, 3)
    assert (codes[:, 1] == 8).all()
    np.testing.assert_allclose(norm.cdf(codes[:4, 0]), [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(norm.cdf(codes[::4, 2]), [0.125, 0.375, 0.625, 0.875])
    assert latent_plane(np.zeros(1), np.array([0]), 4).shape == (4, 1)


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_interpolations_run_from_each_code_to_the_next(count):
    codes = np.random.default_rng(0).normal(size=(count, 3))
    lines = interpolations(codes, 5)
    assert lines.shape == (count // 2, 5, 3)
    for line, start, end in zip(lines, codes[::2], codes[1::2], strict=False):
        np.testing.assert_allclose(line[[0, 2, 4]], [start, (start + end) / 2, end])


def test_activity_is_the_mean_divergence():
    divergences = np.array([[0.0, 0.5, 0.02], [0.001, 0.7, 0.04]])
    activity = code_activity(divergences)
    np.testing.assert_allclose(activity.nats, [0.0005, 0.6, 0.03])
    assert activity.order.tolist() == [1, 2, 0]
    assert activity.active == 2
