"""Training rows without end, in shuffled order, many at a time."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from ssl_jax.data.endless import Endless, Example
from ssl_jax.data.shuffled_order import ShuffledOrder


@runtime_checkable
class StackedRows(Protocol):
    """Rows by number that are made by the batch in less time than one after the other."""

    def __len__(self) -> int: ...

    def stack(self, rows: np.ndarray, rngs: Sequence[np.random.Generator]) -> Example:
        """Several rows, stacked, each from its own random numbers alone."""
        ...


class EndlessRows(Endless):
    """What `grain.MapDataset.range(len(rows)).seed(seed).shuffle().repeat().random_map(rows)` has.

    Grain takes 0.1 ms for a row besides the row itself, and cannot make several at once.

    Args:
      rows: makes the examples.
      seed: of the order and of the random numbers of each place.
      at_once: whether rows come from memory; see `training.loading.Stacked`.
    """

    def __init__(self, rows: StackedRows, seed: int, *, at_once: bool) -> None:
        super().__init__()
        self.at_once = at_once
        self._rows, self._order = rows, ShuffledOrder(len(rows), seed)
        # As Grain derives the seed of a random map from that of a data set, three operations before.
        seed = int(np.random.SeedSequence([seed, 3]).generate_state(1)[0])
        self._key = np.random.Philox(seed).state["state"]["key"]

    def stack(self, places: np.ndarray) -> Example:
        rngs = [
            np.random.Generator(np.random.Philox(key=self._key, counter=[0, 0, 0, int(place)]))
            for place in places
        ]
        return self._rows.stack(self._order[places], rngs)
