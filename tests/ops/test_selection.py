"""The threshold of a mass, against its definition."""

import jax
import numpy as np

from ssl_jax.ops.selection import mass_threshold


def test_the_threshold_of_a_mass_is_a_probability():
    probabilities = np.asarray(jax.nn.softmax(3 * jax.random.normal(jax.random.key(0), (6, 100)), axis=-1))
    threshold = np.asarray(mass_threshold(probabilities, 0.9))
    for row, value in zip(probabilities, threshold[:, 0], strict=True):
        assert row[row >= value].sum() >= 0.9
        assert row[row > value].sum() < 0.9
        assert value in row
