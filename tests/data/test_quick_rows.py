"""Rows of a Grain data set, made by one thread."""

import grain
import numpy as np

from ssl_jax.data.quick_rows import QuickRows
from ssl_jax.training.loading import Stacked


def draw(row, rng):
    return {"row": np.int32(row), "drawn": np.array([rng.random(), rng.integers(10**6)])}


def test_rows_are_those_of_the_data_set_by_number_and_stacked():
    theirs = grain.MapDataset.range(20).seed(3).random_map(draw)
    ours = QuickRows(theirs)
    assert isinstance(ours, Stacked)
    assert ours.at_once
    assert len(ours) == 20
    stacked = ours.stack(np.array([4, 19, 4]))
    for i, place in enumerate([4, 19, 4]):
        for name, array in theirs[place].items():
            np.testing.assert_array_equal(ours[place][name], array)
            np.testing.assert_array_equal(stacked[name][i], array)
            assert stacked[name].dtype == array.dtype
    assert ours[4:9][0]["row"] == 4
