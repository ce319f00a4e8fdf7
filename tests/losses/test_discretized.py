"""The likelihood of 8-bit pixels beside SciPy's normal distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from ssl_jax.losses import discretized

level_log_likelihood = jax.jit(discretized.level_log_likelihood)


@pytest.mark.parametrize("deviation", [0.01, 0.05, 0.2, 2.0])
@pytest.mark.parametrize("mean", [-0.1, 0.0, 0.3, 1.0])
def test_of_every_level(mean, deviation):
    edges = (np.array([-np.inf, *np.arange(0.5, 255), np.inf]) / 255 - mean) / deviation
    left, right = np.diff(norm.cdf(edges)), -np.diff(norm.sf(edges))
    wanted = np.where(edges[:-1] > 0, right, left)
    found = np.asarray(level_log_likelihood(jnp.arange(256), jnp.full(256, mean), deviation))
    assert np.isfinite(found).all()
    represented = wanted > 1e-300
    np.testing.assert_allclose(found[represented], np.log(wanted[represented]), rtol=2e-5, atol=2e-4)
    assert np.exp(found.astype(float)).sum() == pytest.approx(1, abs=1e-5)


def test_far_away():
    """Where probabilities are below what a float holds, the logarithm goes on as -z^2 / 2."""
    found = float(level_log_likelihood(jnp.array(255), jnp.array(0.0), 0.01))
    assert found == pytest.approx(-((254.5 / 2.55) ** 2) / 2, rel=2e-3)
