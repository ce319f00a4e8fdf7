"""Rows are Grain's in order and random numbers, however many are read at once."""

import grain
import numpy as np
import pytest

from ssl_jax.data.endless_rows import EndlessRows


class Drawn:
    """Rows that hold their number and what they drew."""

    def __len__(self) -> int:
        return 37

    def __call__(self, row, rng):
        return {"row": np.asarray(row, np.int32), "drawn": np.array([rng.random(), rng.integers(10**6)])}

    def stack(self, rows, rngs):
        made = [self(int(row), rng) for row, rng in zip(rows, rngs, strict=True)]
        return {name: np.stack([each[name] for each in made]) for name in made[0]}


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_rows_are_those_of_grain(seed):
    ours = EndlessRows(Drawn(), seed, at_once=True)
    theirs = grain.MapDataset.range(37).seed(seed).shuffle().repeat().random_map(Drawn())
    places = np.concatenate([np.arange(3, 40), [10**6, 2**40]])
    stacked = ours.stack(places)
    for i, place in enumerate(places):
        for name, array in theirs[int(place)].items():
            np.testing.assert_array_equal(ours[int(place)][name], array)
            np.testing.assert_array_equal(stacked[name][i], array)
            assert stacked[name].dtype == array.dtype
    assert len(ours) == len(theirs)
    assert ours[4:9][0]["row"] == theirs[4]["row"]
