"""Batches are a function of their number: on any mesh, any number of hosts, from any start."""

import threading
import time

import grain
import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.training import loading
from ssl_jax.training.loading import evaluation_batches, local_rows, to_devices, training_batches
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh
from tests.training import toys

ALONG = batch_sharding(make_mesh(MeshConfig(data=4, fsdp=2)))


def test_a_batch_holds_consecutive_examples_of_the_data_set_from_any_start() -> None:
    data = toys.endless(10)
    wanted = [np.stack([data[16 * number + row]["x"] for row in range(16)]) for number in range(5)]
    for first in (0, 3):
        batches = list(training_batches(data, 16, ALONG, range(first, 5)))
        assert len(batches) == 5 - first
        for found, want in zip(batches, wanted[first:], strict=True):
            np.testing.assert_array_equal(found["x"], want)
            assert found["x"].sharding.is_equivalent_to(ALONG, 2)


@pytest.mark.parametrize(
    "mesh", [MeshConfig(data=1, fsdp=8), MeshConfig(data=2, tensor=4), MeshConfig(tensor=8, data=1)]
)
def test_every_mesh_sees_the_same_batches(mesh: MeshConfig) -> None:
    for name in ("x", "weight"):
        ours = next(training_batches(toys.endless(10), 16, batch_sharding(make_mesh(mesh)), [7]))[name]
        np.testing.assert_array_equal(ours, next(training_batches(toys.endless(10), 16, ALONG, [7]))[name])


class Host:
    """A sharding as seen by one of two hosts, which holds the given half of the batch."""

    def __init__(self, half: int) -> None:
        self.half = half

    def addressable_devices_indices_map(self, shape: tuple[int, ...]) -> dict[int, tuple[slice, ...]]:
        quarter = shape[0] // 4
        return {i: (slice(i * quarter, (i + 1) * quarter),) for i in (2 * self.half, 2 * self.half + 1)}


def test_hosts_read_disjoint_rows_that_make_the_batch() -> None:
    rows = [local_rows(Host(half), 12) for half in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(rows), np.arange(12))


def test_rows_need_not_be_neighbours() -> None:
    """Where a host's devices are not next to each other in the mesh."""
    mesh = jax.sharding.Mesh(np.array(jax.devices())[[0, 4, 1, 5, 2, 6, 3, 7]], ("data",))
    along = NamedSharding(mesh, PartitionSpec("data"))
    values = np.arange(16 * 3).reshape(16, 3)
    np.testing.assert_array_equal(to_devices({"x": values}, np.arange(16), 16, along)["x"], values)


def test_evaluation_reads_every_example_once_and_fills_up_with_weight_zero() -> None:
    for size in (1, 15, 16, 17):
        data = grain.MapDataset.range(100, 100 + size).map(toys.example)
        batches = list(evaluation_batches(data, 16, ALONG))
        assert len(batches) == -(-size // 16)
        weights = np.concatenate([batch["example_weight"] for batch in batches])
        np.testing.assert_array_equal(weights, np.arange(len(weights)) < size)
        assert weights.dtype == np.float32
        x = np.concatenate([batch["x"] for batch in batches])
        np.testing.assert_array_equal(x[:size], np.stack([toys.example(100 + i)["x"] for i in range(size)]))


class Watched:
    """A source that counts what is read."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.reads, self.lock = seconds, [], threading.Lock()

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        with self.lock:
            self.reads.append(index)
        time.sleep(self.seconds)
        if index == 9_999:
            raise RuntimeError("this example is broken")
        return {"x": np.float32(index)}


def test_nothing_is_read_twice_nor_far_ahead_and_no_thread_stays() -> None:
    watched = Watched()
    batches = training_batches(grain.MapDataset.source(watched), 16, ALONG, range(100))
    for _ in range(5):
        next(batches)
    batches.close()
    ahead = 16 * (5 + loading.BATCHES_AHEAD)
    assert sorted(watched.reads) == list(range(len(watched.reads)))
    assert len(watched.reads) <= ahead
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("data")]


class AtOnce(grain.MapDataset):
    """A data set that reads whole batches, and remembers which thread did."""

    at_once = True

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[threading.Thread] = []
        self.reads: list[list[int]] = []

    def __len__(self) -> int:
        return 10**6

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        raise AssertionError("read one by one")

    def stack(self, places: np.ndarray) -> dict[str, np.ndarray]:
        self.readers.append(threading.current_thread())
        self.reads.append(places.tolist())
        return {"x": places.astype(np.float32)}


def test_what_is_read_at_once_is_read_whole_by_one_thread_in_order() -> None:
    data = AtOnce()
    batches = training_batches(data, 16, ALONG, range(3, 100))
    for number in range(3, 8):
        np.testing.assert_array_equal(next(batches)["x"], np.arange(16 * number, 16 * number + 16))
    batches.close()
    assert len({*data.readers}) == 1
    assert data.reads == [
        list(range(16 * number, 16 * number + 16)) for number in range(3, 3 + len(data.reads))
    ]
    assert len(data.reads) <= 5 + loading.QUICK_BATCHES_AHEAD


def test_the_end_of_a_stretch_is_not_read_past() -> None:
    watched = Watched()
    assert len(list(training_batches(grain.MapDataset.source(watched), 16, ALONG, range(2, 4)))) == 2
    assert sorted(watched.reads) == list(range(32, 64))


def test_reading_goes_on_while_batches_are_used() -> None:
    """A batch takes 16 x 5 ms to read by one thread, and 80 ms to use: the wait is for the first one only."""
    batches = training_batches(grain.MapDataset.source(Watched(0.005)), 16, ALONG, range(10))
    next(batches)
    waited = 0.0
    for _ in range(5):
        time.sleep(0.16)
        started = time.perf_counter()
        next(batches)
        waited += time.perf_counter() - started
    batches.close()
    assert waited < 0.25 * 5 * 0.16


def test_what_the_data_set_raises_comes_through() -> None:
    batches = training_batches(grain.MapDataset.source(Watched()), 16, ALONG, range(623, 625))
    next(batches)
    with pytest.raises(RuntimeError, match="this example is broken"):
        next(batches)
