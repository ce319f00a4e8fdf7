"""Arrays of which many devices need a copy are read from storage once, and then copied between the devices."""

import math

import jax
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.method import Tree

SMALL = 2**20
"""Bytes of a piece below which an array is not cut: the writer of checkpoints stores such arrays in one piece."""


def cut_over_copies(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """An array, placed so that no two processes hold the same part of it, as far as it divides.

    Args:
      x: its shape and dtype, and the sharding that it is to have in the end.

    Returns:
      The same with another sharding: along its first divisible axis it is cut over those axes of the mesh, too, along
      which `x` has copies. So does Orbax when it writes. An array that one process has on its own stays as it is.
    """
    sharding = x.sharding
    if not isinstance(sharding, NamedSharding) or len({d.process_index for d in sharding.device_set}) == 1:
        return x
    axes = [_axes(entry) for entry in (*sharding.spec, *[None] * (len(x.shape) - len(sharding.spec)))]
    sizes = sharding.mesh.shape
    copies = tuple(name for name in sizes if sizes[name] > 1 and not any(name in used for used in axes))
    parts = math.prod(sizes[name] for name in copies)
    for axis, n in enumerate(sharding.shard_shape(x.shape)):
        if n % parts == 0 and x.size * x.dtype.itemsize >= SMALL * parts:
            axes[axis] = (*axes[axis], *copies)
            spec = PartitionSpec(*axes)
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(sharding.mesh, spec))
    return x


def copied(tree: Tree, abstract: Tree) -> Tree:
    """Arrays placed as the shardings of `abstract` say, over the links between the devices."""
    shardings = jax.tree.map(lambda x: x.sharding, abstract)
    if jax.tree.map(lambda x: x.sharding, tree) == shardings:
        return tree
    return jax.jit(lambda tree: tree, out_shardings=shardings)(tree)


def _axes(entry: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The mesh axes of a dimension."""
    if entry is None:
        return ()
    return (entry,) if isinstance(entry, str) else tuple(entry)
