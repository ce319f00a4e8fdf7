"""Saves and restores arrays of which every device has a copy, as one of several processes.

python -m tests.multiprocess.restoring HOST:PORT,ID,COUNT FOLDER

Prints the bytes that this process has read from the disk.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tensorstore as ts
from etils import epath

from ssl_jax.training import distributed
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.sharding import MeshConfig, make_mesh, place
from ssl_jax.training.state import TrainState

ROWS, WIDTH = 4096, 1024


def read_bytes() -> int:
    """What TensorStore has read from files in this process."""
    found = ts.experimental_collect_matching_metrics("/tensorstore/kvstore/file/bytes_read")
    return sum(value["value"] for metric in found for value in metric["values"])


if __name__ == "__main__":
    hosts, folder = sys.argv[1:]
    distributed.join(hosts)
    table = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
    zero = np.zeros((), np.int32)
    state = TrainState(zero + 1, {"table": table}, {"small": table[:2]}, optax.EmptyState(), {}, zero)
    abstract = place(make_mesh(MeshConfig()), (), jax.eval_shape(lambda: jax.tree.map(jnp.asarray, state)))
    state = jax.tree.map(
        lambda x, a: jax.make_array_from_callback(x.shape, a.sharding, lambda index: x[index]),
        state,
        abstract,
    )
    writer = CheckpointWriter(epath.Path(folder), keep_latest=1)
    writer.save(state, {})
    writer.wait()
    before = read_bytes()
    restored = writer.restore(1, abstract)
    print(read_bytes() - before)
    for ours, saved in zip(jax.tree.leaves(restored), jax.tree.leaves(state), strict=True):
        assert ours.sharding == saved.sharding
        np.testing.assert_array_equal(ours.addressable_data(0), saved.addressable_data(0))
    distributed.current_hosts().leave()
