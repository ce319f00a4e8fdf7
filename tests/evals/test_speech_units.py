"""Units against phones: purity and PNMI, beside scikit-learn's mutual information."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from ssl_jax.evals.speech_units import unit_quality


def test_units_that_are_phones_and_units_that_are_one():
    phones = np.array([0, 0, 1, 2, 2, 2, -1])
    assert unit_quality(phones[::1] * 3 % 7, phones) == pytest.approx((1, 1, 1))
    assert unit_quality(np.zeros(7, int), phones) == pytest.approx((0.5, 1, 0), abs=1e-12)


def test_pnmi_is_that_of_the_counts():
    draws = np.random.default_rng(0)
    phones = draws.integers(-1, 5, 400)
    units = np.where(draws.random(400) < 0.5, phones + 1, draws.integers(0, 8, 400))
    known = phones >= 0
    shares = np.bincount(phones[known]) / known.sum()
    wanted = mutual_info_score(units[known], phones[known]) / -(shares * np.log(shares)).sum()
    found = unit_quality(units, phones)
    assert found.pnmi == pytest.approx(wanted)
    most = sum(np.bincount(phones[known & (units == unit)]).max() for unit in set(units[known]))
    assert found.phone_purity == pytest.approx(most / known.sum())
