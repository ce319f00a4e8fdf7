"""The mean difference of pairs, beside the formula of the paired t test."""

import numpy as np
import pytest

from ssl_jax.evals.paired import mean_ahead


def test_the_interval_is_that_of_the_differences_whatever_the_pairs_have_in_common():
    common = np.array([0.0, 10.0, -5.0, 100.0])
    first, second = common + np.array([[0.5, 0.2, 0.9, 0.4], [0.1, 0.3, 0.2, 0.2]])
    ahead = first - second
    half = 3.182446305 * ahead.std(ddof=1) / 2  # the 97.5 % quantile of t with 3 degrees of freedom
    found = mean_ahead(first, second)
    assert found == pytest.approx((ahead.mean() - half, ahead.mean() + half))
    assert mean_ahead(second, first) == pytest.approx((-found[1], -found[0]))


def test_pairs_without_spread_have_no_interval():
    assert mean_ahead([0.3, 0.4], [0.3, 0.4]) is None
    assert mean_ahead([0.3], [0.1]) is None
    assert mean_ahead([], []) is None
