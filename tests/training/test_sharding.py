"""Where arrays live: rules by path, their stand-in where there is none, and the mesh."""

import jax
import pytest
from jax.sharding import PartitionSpec

from ssl_jax.errors import UserError
from ssl_jax.training import sharding
from ssl_jax.training.sharding import MeshConfig, make_mesh, partition, partition_of_update, shard

MESH = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
RULES = ((r"mlp/up/kernel$", ("fsdp", "tensor")), (r"bias$", ("tensor",)), (r"up", (None, "fsdp")))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("mlp/up/kernel", (8, 6), ("fsdp", "tensor")),
        (
            "layers/mlp/up/kernel",
            (3, 8, 6),
            (None, "fsdp", "tensor"),
        ),  # stacked layers: aligned to the last axes
        (
            "0/mu/layers/mlp/up/kernel",
            (3, 8, 6),
            (None, "fsdp", "tensor"),
        ),  # the optimiser's, by its path's end
        ("mlp/up/kernel", (7, 6), (None, "tensor")),  # an axis that does not divide is dropped there
        ("mlp/up/bias", (6,), ("tensor",)),
        ("mlp/up/scale", (6,), ()),  # a rule of more axes than the array has does not hold
        ("head", (100, 200), (None, "fsdp")),  # no rule: a large array along its largest divisible axis
        ("head", (200, 101), ("fsdp", None)),
        ("head", (201, 101), ()),
        ("head", (10, 10), ()),  # small arrays stay whole
        ("layers/norm", (64, 1024), ()),  # and so do stacks of small arrays, which are gathered one by one
        ("layers/head", (2, 100, 200), (None, None, "fsdp")),
        ("count", (), ()),
    ],
)
def test_partition(name: str, shape: tuple[int, ...], expected: tuple[str | None, ...]) -> None:
    assert partition(MESH, RULES, name, shape) == PartitionSpec(*expected)


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("mlp/up/kernel", (512, 640), ("fsdp", ("tensor", "data"))),  # where most is left on a device
        ("layers/mlp/up/kernel", (4, 512, 640), (None, "fsdp", ("tensor", "data"))),
        ("head", (512, 640), ("data", "fsdp")),
        (
            "mlp/up/kernel",
            (640, 258),
            (("fsdp", "data"), "tensor"),
        ),  # an axis that does not divide is not taken
        ("head", (201, 101), ()),
        ("head", (10, 10), ()),
        ("layers/norm", (64, 1024), ()),
    ],
)
def test_updates_are_cut_over_the_copies_of_the_model(name, shape, expected) -> None:
    assert partition_of_update(MESH, RULES, name, shape) == PartitionSpec(*expected)


def test_between_slices_updates_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "number_of_slices", lambda devices: 2)
    assert partition_of_update(MESH, RULES, "head", (512, 640)) == PartitionSpec(None, "fsdp")


def test_without_fsdp_nothing_is_cut_by_itself() -> None:
    mesh = make_mesh(MeshConfig(data=8))
    assert shard(mesh, (), {"w": jax.ShapeDtypeStruct((512, 512), "float32")})["w"].is_fully_replicated


def test_the_mesh_takes_the_devices_that_are_left() -> None:
    assert dict(make_mesh(MeshConfig(fsdp=2)).shape) == {"data": 4, "fsdp": 2, "tensor": 1}
    assert make_mesh(MeshConfig(), jax.devices()[:3]).size == 3


@pytest.mark.parametrize("config", [MeshConfig(data=3), MeshConfig(fsdp=16), MeshConfig(tensor=3)])
def test_a_mesh_that_does_not_fit_is_named(config: MeshConfig) -> None:
    with pytest.raises(
        UserError, match=rf"data {config.data} x fsdp {config.fsdp} x tensor {config.tensor} does not"
    ):
        make_mesh(config)
