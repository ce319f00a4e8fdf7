"""From a random-access data set to global batches on the devices.

A batch is indexed globally: batch s of a run holds the examples s * batch_size, s * batch_size + 1, ... of the endless,
shuffled data set. Each host reads just the rows that its devices hold, so the number of hosts does not appear in the
order of the data, and the position in the data is the step.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import grain
import jax
import numpy as np
from jax.sharding import NamedSharding

from ssl_jax.data.stacking import stacked

Examples = Mapping[str, np.ndarray]

READ_THREADS = min(16, os.cpu_count() or 1)
"""More threads wait for Python's lock: an image holds it for up to 40 % of its time (benchmarks/image_reading.py)."""
BATCHES_AHEAD = 2
QUICK_BATCHES_AHEAD = 4
"""Of those that one thread reads at once, beside a step that takes no longer than a few switches of threads."""


@runtime_checkable
class Stacked(Protocol):
    """A data set that reads many examples in less time than one after the other.

    Attributes:
      at_once: whether a batch is so quick to read that threads, which share Python's lock, would only be slower: one
        reads it whole, without keeping the training loop from the lock.
    """

    at_once: bool

    def stack(self, places: np.ndarray) -> Examples:
        """The examples at these places, in arrays with a leading axis for them."""
        ...


def training_batches(
    dataset: grain.MapDataset, batch_size: int, sharding: NamedSharding, numbers: Iterable[int]
) -> Iterator[dict[str, jax.Array]]:
    """The batches of these numbers, of an endless data set, on the devices ahead of their use."""
    if isinstance(dataset, Stacked) and dataset.at_once:
        threads, ahead = 1, QUICK_BATCHES_AHEAD
    else:
        threads, ahead = READ_THREADS, BATCHES_AHEAD
    return _load(
        _reader(dataset), batch_size, sharding, numbers, examples=None, threads=threads, batches_ahead=ahead
    )


def evaluation_batches(
    dataset: grain.MapDataset, batch_size: int, sharding: NamedSharding
) -> Iterator[dict[str, jax.Array]]:
    """Every example once. The last batch is filled up with copies of the first example, whose `example_weight` is 0."""
    examples, read = len(dataset), _reader(dataset)

    def read_filled(places: np.ndarray) -> Examples:
        return read(np.where(places < examples, places, 0))

    return _load(read_filled, batch_size, sharding, range(-(-examples // batch_size)), examples=examples)


def _reader(dataset: grain.MapDataset) -> Callable[[np.ndarray], Examples]:
    """The function that reads the examples at some places, stacked."""
    if isinstance(dataset, Stacked):
        return dataset.stack

    def read(places: np.ndarray) -> Examples:
        return stacked([dataset[int(place)] for place in places])

    return read


def _load(
    read: Callable[[np.ndarray], Examples],
    batch_size: int,
    sharding: NamedSharding,
    numbers: Iterable[int],
    *,
    examples: int | None,
    threads: int = READ_THREADS,
    batches_ahead: int = BATCHES_AHEAD,
) -> Iterator[dict[str, jax.Array]]:
    """Threads share the rows of a batch, and put it together while the batches before it are used.

    Args:
      examples: how many there are; None for an endless data set. Rows past the end have an `example_weight` of 0.
      threads: that share the rows; if it is one, it puts the batch together as well.
      batches_ahead: that are read before they are asked for.
    """
    rows = local_rows(sharding, batch_size)
    parts = np.array_split(rows, min(threads, len(rows)))

    def assemble(number: int, reads: list[Future[Examples]]) -> dict[str, jax.Array]:
        found = [done.result() for done in reads]
        local = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
        real = np.ones(len(rows), bool) if examples is None else number * batch_size + rows < examples
        local["example_weight"] = real.astype(np.float32)
        return to_devices(local, rows, batch_size, sharding)

    pool = ThreadPoolExecutor(threads + 1 if threads > 1 else 1, thread_name_prefix="data")
    try:
        ahead: deque[Future[dict[str, jax.Array]]] = deque()
        for number in numbers:
            reads = [pool.submit(read, number * batch_size + part) for part in parts]
            ahead.append(
                pool.submit(assemble, number, reads)
            )  # begun after its reads, so it never keeps them waiting
            if len(ahead) > batches_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def local_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Rows of the global batch that this host's devices hold, in ascending order."""
    indices = sharding.addressable_devices_indices_map((batch_size,)).values()
    return np.unique(np.concatenate([np.arange(batch_size)[index] for index in indices]))


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
