"""Likelihoods of models without a network, against SciPy."""

import numpy as np
import pytest
from scipy import stats

from ssl_jax.evals.likelihood import independent_pixels, mean_log_likelihood, probabilistic_pca


def test_pixels_by_themselves():
    rng = np.random.default_rng(0)
    train, test = ((rng.uniform(size=(50, 6)) < 0.4).astype(np.float32) for _ in range(2))
    train[:, 0] = 0
    share = (train.sum(0) + 0.5) / 51
    wanted = stats.bernoulli.logpmf(test, share).sum(-1)
    np.testing.assert_allclose(independent_pixels(train, test), wanted, rtol=1e-6)
    assert np.isfinite(independent_pixels(train, np.ones_like(test))).all()


def test_probabilistic_pca_is_its_normal_distribution():
    """Tipping and Bishop's maximum: what is left of the variance, shared evenly by all other directions."""
    rng = np.random.default_rng(0)
    train, test = (rng.normal(size=(80, 5)) @ np.diag([3, 2, 1, 0.5, 0.3]) + 1 for _ in range(2))
    values, vectors = np.linalg.eigh(np.cov(train.T))
    noise = values[:3].mean()
    covariance = (vectors * np.r_[[noise] * 3, values[3:]]) @ vectors.T
    wanted = stats.multivariate_normal(train.mean(0), covariance).logpdf(test)
    np.testing.assert_allclose(probabilistic_pca(train, test, 2), wanted, rtol=1e-5)


@pytest.mark.parametrize("images", [80, 3, 2])
def test_more_components_than_there_can_be(images):
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(images, 5)), rng.normal(size=(7, 5))
    most = probabilistic_pca(train, test, min(4, images - 2))
    assert np.isfinite(most).all()
    np.testing.assert_allclose(probabilistic_pca(train, test, 900), most)


def test_the_mean_has_its_error_and_its_bits():
    nats = np.array([-10.0, -12.0, -14.0])
    mean = mean_log_likelihood(nats, dims=6, levels=256)
    assert mean.nats == -12
    assert mean.standard_error == pytest.approx(2 / 3**0.5)
    assert mean.bits_per_dim == pytest.approx(12 / (6 * np.log(2)) + 8)
    assert mean_log_likelihood(nats[:1], dims=6, levels=1).standard_error == 0
