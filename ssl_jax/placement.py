"""Where arrays inside a model live on a mesh: all that a model knows of devices, and only if a mesh is set."""

import jax
from jax.sharding import PartitionSpec

BATCH_AXES = ("data", "fsdp")
"""Axes of the mesh over which examples are spread."""


def along_batch(x: jax.Array) -> jax.Array:
    """`x [batch, ...]` kept with the examples it belongs to; `x` itself where no mesh is set.

    Without it, the compiler may follow parameters that are cut over `fsdp` and compute whole batches for a part of the
    width, gathering activations instead of the much smaller weights.
    """
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES)) if _on_a_mesh() else x


def in_parts(x: jax.Array) -> jax.Array:
    """`x [batch_parts(), ...]` with each part on the devices of its examples; the compiler places the other axes."""
    rest = (PartitionSpec.UNCONSTRAINED,) * (x.ndim - 1)
    return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH_AXES, *rest)) if _on_a_mesh() else x


def whole_rows(x: jax.Array) -> jax.Array:
    """A table whose rows are not cut; the compiler places its first axis."""
    spec = PartitionSpec(PartitionSpec.UNCONSTRAINED, None)
    return jax.lax.with_sharding_constraint(x, spec) if _on_a_mesh() else x


def whole(x: jax.Array) -> jax.Array:
    """A parameter gathered from the devices it is cut over; `x` itself where no mesh is set.

    For tables that are looked up: the compiler has no good way to look up a cut table along the batch.
    """
    return jax.lax.with_sharding_constraint(x, PartitionSpec()) if _on_a_mesh() else x


def batch_parts() -> int:
    """Over how many devices examples are spread; 1 where no mesh is set."""
    shape = jax.sharding.get_abstract_mesh().shape
    return shape[BATCH_AXES[0]] * shape[BATCH_AXES[1]] if _on_a_mesh() else 1


def platform() -> str | None:
    """What the devices of the mesh are, such as "tpu", "gpu" or "cpu"; None where no mesh is set."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    # JAX names the same devices gpu in some places and cuda in others.
    return device and {"cuda": "gpu", "rocm": "gpu"}.get(device.platform, device.platform)


def _on_a_mesh() -> bool:
    return set(BATCH_AXES) <= set(jax.sharding.get_abstract_mesh().axis_names)
