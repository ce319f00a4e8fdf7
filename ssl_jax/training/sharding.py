"""Devices: the mesh, and where each array of the state and of the batch lives on it.

Three mesh axes. `data` replicates the parameters and splits the batch. `fsdp` splits the batch and the parameters (each
chip gathers a layer's weights when it needs them). `tensor` splits the width of the matrices inside a layer. The same
run gives the same curve on any of them, to rounding.

Updates are split over `data` as well (ZeRO-1, arXiv:1910.02054): each chip sums the gradients of its part, keeps the
optimiser's state of it and computes its new parameters, which all chips then gather. That is less work and less memory,
and as much communication as sums of whole gradients where the compiler adds up parts (see BUILD_NOTES.md).
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from ssl_jax.domains import Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.placement import BATCH_AXES
from ssl_jax.training.paths import named_leaves, path_name

BATCH = PartitionSpec(BATCH_AXES)

Rules = Sequence[tuple[str, tuple[str | None, ...]]]
"""(regular expression on the parameter's path, mesh axis per dimension). Aligned to the last dimensions, so that a rule
for a layer also holds for layers stacked on a leading axis. The first match counts."""

SMALL = 2**14
"""Arrays of fewer elements are not worth a collective each; they stay whole unless a rule names them. Layers that are
stacked count one by one, since each is gathered when it is needed."""
STACKED = re.compile(r"(^|/)layers/")
"""Names of parameters whose first axis is that of the layers, unless a rule says how many axes a layer has."""


@dataclass(frozen=True)
class MeshConfig(Settings):
    """How the devices are used. The product of the three must be the number of devices."""

    data: Annotated[int, integers(-1, 2**20)] = -1
    """Copies of the model, each with its part of the batch; -1 takes all devices that the others leave."""
    fsdp: Annotated[int, integers(1, 2**20)] = 1
    """Parts into which parameters and optimiser state are cut, each with its part of the batch."""
    tensor: Annotated[int, integers(1, 2**20)] = 1
    """Parts into which each matrix of a layer is cut."""

    def check_relations(self) -> None:
        if self.data == 0:
            raise UserError(
                "mesh.data 0: give the number of copies of the model, or -1 for as many as there can be."
            )


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh of all devices (or of those given). UserError if the axes do not multiply to their number."""
    devices = list(devices if devices is not None else jax.devices())
    fixed = config.fsdp * config.tensor
    data = len(devices) // max(fixed, 1) if config.data == -1 else config.data
    if min(data, config.fsdp, config.tensor) < 1 or data * fixed != len(devices):
        raise UserError(
            f"mesh: data {config.data} x fsdp {config.fsdp} x tensor {config.tensor} does not make the "
            f"{len(devices)} devices at hand; choose factors of {len(devices)} (data -1 takes what is left)."
        )
    shape, names, kinds = (data, config.fsdp, config.tensor), ("data", "fsdp", "tensor"), (AxisType.Auto,) * 3
    slices = number_of_slices(devices)
    if slices == 1:
        return jax.make_mesh(shape, names, kinds, devices=devices)
    if data % slices:
        raise UserError(
            f"mesh.data {data}: must be a multiple of the {slices} slices, between which only gradients are exchanged; "
            "lower mesh.fsdp or mesh.tensor."
        )
    within = (data // slices, config.fsdp, config.tensor)
    spread = mesh_utils.create_hybrid_device_mesh(
        within, (slices, 1, 1), devices, allow_split_physical_axes=True
    )
    return Mesh(spread, names, axis_types=kinds)


def number_of_slices(devices: Iterable[jax.Device]) -> int:
    """How many slices of TPUs the devices are in, between which the network of the data centre lies."""
    return len({getattr(device, "slice_index", None) for device in devices})


def check_batch(mesh: Mesh, batch_size: int, micro_batches: int) -> None:
    """UserError unless every device gets the same number of examples of every micro-batch."""
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if batch_size % (parts * micro_batches):
        raise UserError(
            f"train.batch_size {batch_size} cannot be dealt out evenly: {parts} parts of the mesh (data x fsdp) x "
            f"{micro_batches} micro-batches need a multiple of {parts * micro_batches}."
        )


def partition(mesh: Mesh, rules: Rules, name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """Where an array lives. An axis that does not divide its dimension is dropped there.

    Without a rule, large arrays are cut over `fsdp` along their largest divisible dimension.
    """
    axes = _wanted(rules, name, shape)
    if axes is not None:
        return PartitionSpec(
            *(a if a and n % mesh.shape[a] == 0 else None for a, n in zip(axes, shape, strict=True))
        )
    largest = _to_cut(rules, name, shape, shape, mesh.shape["fsdp"])
    if largest is None:
        return PartitionSpec()
    return PartitionSpec(*("fsdp" if i == largest else None for i in range(len(shape))))


def update_parts(mesh: Mesh) -> int:
    """Over how many devices along `data` updates are cut.

    1 where there are several slices: all parameters would go through the network of the data centre.
    """
    return mesh.shape["data"] if number_of_slices(mesh.devices.flat) == 1 else 1


def partition_of_update(mesh: Mesh, rules: Rules, name: str, shape: tuple[int, ...]) -> PartitionSpec:
    """Where the update of an array is computed: as `partition`, and large arrays cut over `data` too.

    They are cut along the dimension that is largest on one device.
    """
    kept = partition(mesh, rules, name, shape)
    axes = [*kept, *[None] * (len(shape) - len(kept))]
    own = [n // (mesh.shape[axis] if axis else 1) for n, axis in zip(shape, axes, strict=True)]
    largest = _to_cut(rules, name, shape, own, update_parts(mesh))
    if largest is None:
        return kept
    axes[largest] = (axes[largest], "data") if axes[largest] else "data"
    return PartitionSpec(*axes)


def _to_cut(rules: Rules, name: str, shape: tuple[int, ...], own: Sequence[int], parts: int) -> int | None:
    """The largest dimension on one device that can be cut into so many parts; None if nothing is to be cut."""
    divisible = [i for i, n in enumerate(own) if n % parts == 0]
    if parts == 1 or _is_small(rules, name, shape):
        return None
    return max(divisible, key=lambda i: own[i], default=None)


def _is_small(rules: Rules, name: str, shape: tuple[int, ...]) -> bool:
    """Whether an array, or each layer of it, is not worth a collective."""
    axes = _rule(rules, name, shape)
    stacked = bool(STACKED.search(name)) if axes is None else len(shape) - len(axes)
    return math.prod(shape[stacked:]) < SMALL


def _rule(rules: Rules, name: str, shape: tuple[int, ...]) -> tuple[str | None, ...] | None:
    """The mesh axes of the first matching rule, of the last dimensions; None if no rule matches."""
    return next(
        (axes for pattern, axes in rules if re.search(pattern, name) and len(axes) <= len(shape)), None
    )


def _wanted(rules: Rules, name: str, shape: tuple[int, ...]) -> tuple[str | None, ...] | None:
    """The mesh axis of each dimension that the first matching rule asks for; None if no rule matches."""
    axes = _rule(rules, name, shape)
    return None if axes is None else (None,) * (len(shape) - len(axes)) + tuple(axes)


def left_whole(mesh: Mesh, rules: Rules, params: Tree) -> list[str]:
    """Parameters with a dimension that a rule wants cut and the mesh does not divide, as people read it."""
    return [
        f"{name} ({n} over {axis} {mesh.shape[axis]})"
        for name, x in named_leaves(params).items()
        for axis, n in zip(_wanted(rules, name, x.shape) or (), x.shape, strict=False)
        if axis and n % mesh.shape[axis]
    ]


Where = Callable[[Mesh, Rules, str, tuple[int, ...]], PartitionSpec]
"""`partition` or `partition_of_update`."""


def shard(mesh: Mesh, rules: Rules, tree: Tree, where: Where = partition) -> Tree:
    """The sharding of every leaf. Optimiser state follows its parameter, whose path ends its own."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: NamedSharding(mesh, where(mesh, rules, path_name(path), x.shape)), tree
    )


def place(mesh: Mesh, rules: Rules, shapes: Tree, where: Where = partition) -> Tree:
    """The abstract arrays of `shapes`, each with its sharding; what a checkpoint is restored into."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
        shapes,
        shard(mesh, rules, shapes, where),
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Batches are cut along their first dimension, over the axes `data` and `fsdp`."""
    return NamedSharding(mesh, BATCH)


def compiler_options(mesh: Mesh) -> dict[str, int | bool]:
    """Options with which programs for the devices of a mesh are compiled."""
    if mesh.devices.flat[0].platform != "tpu":
        return {}
    return {
        # Otherwise a product of arrays that are cut is computed in a ring, in one part for each chip: too narrow for
        # the matrix units.
        "xla_jf_spmd_threshold_for_windowed_einsum_mib": 2**20,
        # Otherwise the two products of an MLP become one instruction, if the backward pass computes the first one again
        # anyway. It computes the first one anew for each part of the second.
        "xla_tpu_dot_dot_fusion": False,
    }


def replicated(mesh: Mesh) -> NamedSharding:
    """A copy on every device."""
    return NamedSharding(mesh, PartitionSpec())
