"""Fingerprints of arrays: whether the bytes that were read are those that were saved."""

from typing import TypedDict

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.method import Tree
from ssl_jax.training.paths import named_leaves


def storable(dtype: np.dtype) -> bool:
    """Whether a checkpoint holds such arrays: integers and floating-point numbers of whole bytes, and booleans."""
    number = jnp.issubdtype(dtype, jnp.integer) or jnp.issubdtype(dtype, jnp.floating)
    return dtype.name == "bool" or (number and not dtype.name.endswith(("int2", "int4")))


class ArrayNote(TypedDict):
    """What is noted of an array beside a checkpoint, as JSON.

    Attributes:
      shape: of the array.
      dtype: its name, such as `float32`.
      fingerprint: see `fingerprints`.
    """

    shape: list[int]
    dtype: str
    fingerprint: int


def describe(tree: Tree) -> dict[str, ArrayNote]:
    """Shape, dtype and fingerprint of every array by its name."""
    arrays = named_leaves(tree)
    marks = np.asarray(fingerprints(tree)).tolist()
    return {
        name: ArrayNote(shape=list(x.shape), dtype=x.dtype.name, fingerprint=mark)
        for (name, x), mark in zip(arrays.items(), marks, strict=True)
    }


@jax.jit
def fingerprints(tree: Tree) -> jax.Array:
    """One uint32 per leaf: the sum of its bits, read as integers, modulo 2^32.

    Integer sums do not depend on the order, hence not on the mesh. It tells a file whose bytes changed from a sound
    one, which the storage format alone does not.
    """

    def bits(x: jax.Array) -> jax.Array:
        if x.dtype == jnp.bool_:
            return x.sum(dtype=jnp.uint32)
        unsigned = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}[x.dtype.itemsize]
        return jax.lax.bitcast_convert_type(x, unsigned).astype(jnp.uint32).sum(dtype=jnp.uint32)

    return jnp.stack([bits(x) for x in jax.tree.leaves(tree)])


def fingerprint_on_host(x: np.ndarray) -> int:
    """The fingerprint of one array that lies in host memory: the devices have no room for a second state."""
    return int(x.view(f"u{x.dtype.itemsize}").sum(dtype=np.uint64)) % 2**32
