"""Units against phones: purity and PNMI, beside scikit-learn's mutual information."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from ssl_jax.evals.speech_units import draw_unit_phones, joint_counts, unit_quality
from ssl_jax.reports.speech_units import phones_of_units


def test_units_that_are_phones_and_units_that_are_one():
    phones = np.array([0, 0, 1, 2, 2, 2, -1])
    assert unit_quality(phones[::1] * 3 % 7, phones) == pytest.approx((1, 1, 1, 1))
    assert unit_quality(np.zeros(7, int), phones) == pytest.approx((0.5, 1, 0, 0), abs=1e-12)


def test_pnmi_is_that_of_the_counts():
    draws = np.random.default_rng(0)
    phones = draws.integers(-1, 5, 400)
    units = np.where(draws.random(400) < 0.5, phones + 1, draws.integers(0, 8, 400))
    known = phones >= 0
    shares = np.bincount(phones[known]) / known.sum()
    wanted = mutual_info_score(units[known], phones[known]) / -(shares * np.log(shares)).sum()
    found = unit_quality(units, phones)
    assert found.pnmi == pytest.approx(wanted)
    assert found.nmi == pytest.approx(normalized_mutual_info_score(units[known], phones[known]))
    most = sum(np.bincount(phones[known & (units == unit)]).max() for unit in set(units[known]))
    assert found.phone_purity == pytest.approx(most / known.sum())


def test_counts_of_units_and_phones_and_their_picture():
    units, phones = np.array([0, 0, 2, 2, 2, 1]), np.array([1, 1, 0, 0, 1, -1])
    counts = joint_counts(units, phones, (4, 2))
    assert counts.tolist() == [[0, 2], [0, 0], [2, 1], [0, 0]]
    figure = draw_unit_phones(counts, ("a", "b"), "")
    picture = figure.axes[0].images[0].get_array()
    np.testing.assert_allclose(picture, [[2 / 3, 1 / 3], [0, 1]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["2", "0"]
    lines = phones_of_units(counts, ("a", "b"))
    assert lines[1].split() == ["2", "60.0%", "a", "67%", "b", "33%"]
    assert lines[2].split() == ["0", "40.0%", "b", "100%"]
    assert len(lines) == 3
