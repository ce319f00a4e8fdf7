"""Rows that are made so quickly that several threads would be slower than one."""

import grain
import numpy as np

from ssl_jax.data.endless import Example
from ssl_jax.data.stacking import stacked


class QuickRows(grain.MapDataset):
    """The rows of a data set, made one after the other by one thread.

    For rows that take less time than two threads need to hand Python's lock to each other.

    Args:
      rows: examples by number.
    """

    at_once = True
    """See `ssl_jax.training.loading.Stacked`."""

    def __init__(self, rows: grain.MapDataset) -> None:
        super().__init__()
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int | slice) -> Example | grain.MapDataset:
        return self.slice(index) if isinstance(index, slice) else self._rows[index]

    def stack(self, places: np.ndarray) -> Example:
        """The rows of these numbers, stacked."""
        return stacked([self._rows[int(place)] for place in places])
