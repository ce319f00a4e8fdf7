"""Whether arrays fit into memory, asked before any is taken for them."""

import math

import jax

from ssl_jax.errors import UserError
from ssl_jax.memory import physical_memory
from ssl_jax.method import Tree


def check_memory(tree: Tree, owner: object) -> None:
    """Refuses arrays that this machine can't hold.

    Args:
      tree: abstract arrays, each with its sharding.
      owner: what they are of, for the message.

    Raises:
      UserError: they take more than a device has, or, on CPUs, more than this machine has.
    """
    each = sum(math.prod(x.sharding.shard_shape(x.shape)) * x.dtype.itemsize for x in jax.tree.leaves(tree))
    device, *others = jax.local_devices()
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit is None:  # the devices are this machine's processors, which share its memory
        each *= 1 + len(others)
        limit = physical_memory()
    if each > limit:
        raise UserError(
            f"{owner}: its arrays take {_gibibytes(each)} of the {_gibibytes(limit)} of memory of "
            f"{device.device_kind}; use a smaller model, or more devices with --mesh.fsdp."
        )


def _gibibytes(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
