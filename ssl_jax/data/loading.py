"""From a random-access data set to global batches on the devices.

A batch is indexed globally: batch s of a run holds the examples s * batch_size, s * batch_size + 1, ... of the endless,
shuffled data set. Each host reads just the rows that its devices hold, so the number of hosts does not appear in the
order of the data, and the position in the data is the step.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding

Examples = Mapping[str, np.ndarray]

READ_THREADS = 4
READ_AHEAD = 64
BATCHES_AHEAD = 2


def local_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Rows of the global batch that this host's devices hold, in ascending order."""
    indices = sharding.addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices]))


class _Rows(grain.MapDataset):
    """The examples of consecutive batches, restricted to the given rows of each."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, rows: np.ndarray, first_batch: int) -> None:
        super().__init__(parent)
        self._batch_size, self._rows, self._first = batch_size, rows, first_batch

    def __len__(self) -> int:
        batches = len(self._parent) // self._batch_size - self._first
        return batches * len(self._rows)

    def __getitem__(self, index: int | slice) -> Examples:
        if isinstance(index, slice):
            return self.slice(index)
        batch, row = divmod(index, len(self._rows))
        return self._parent[(self._first + batch) * self._batch_size + int(self._rows[row])]


def to_devices(
    local: Examples, rows: np.ndarray, batch_size: int, sharding: NamedSharding
) -> dict[str, jax.Array]:
    """The global arrays of which this host holds `rows`."""

    def assemble(values: np.ndarray) -> jax.Array:
        def piece(index: tuple[slice, ...]) -> np.ndarray:
            first, stop, _ = index[0].indices(batch_size)
            start = np.searchsorted(rows, first)
            return values[start : start + stop - first]

        return jax.make_array_from_callback((batch_size, *values.shape[1:]), sharding, piece)

    return {name: assemble(values) for name, values in local.items()}


def training_batches(
    dataset: grain.MapDataset, batch_size: int, sharding: NamedSharding, first_batch: int
) -> Iterator[dict[str, jax.Array]]:
    """Endless global batches from `first_batch` on, read by threads and put on the devices ahead of their use."""
    rows = local_rows(sharding, batch_size)
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=max(READ_AHEAD, 2 * len(rows)))
    examples = _Rows(dataset, batch_size, rows, first_batch).to_iter_dataset(options).batch(len(rows))
    batches = (to_devices(batch, rows, batch_size, sharding) for batch in examples)
    ahead = deque(islice(batches, BATCHES_AHEAD))
    while ahead:
        batch = ahead.popleft()
        yield batch
        ahead.extend(islice(batches, 1))


def evaluation_batches(
    dataset: grain.MapDataset, batch_size: int, sharding: NamedSharding
) -> Iterator[dict[str, jax.Array]]:
    """Every example once. The last batch is filled up with copies of the first example, whose `example_weight` is 0."""
    rows = local_rows(sharding, batch_size)
    for start in range(0, len(dataset), batch_size):
        real = start + rows < len(dataset)
        examples = [
            dataset[start + int(row)] if ok else dataset[0] for row, ok in zip(rows, real, strict=True)
        ]
        local = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
        local["example_weight"] = real.astype(np.float32)
        yield to_devices(local, rows, batch_size, sharding)
