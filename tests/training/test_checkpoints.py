"""A folder of checkpoints: each is read back before older ones are removed, whatever the name of the folder.

Damaged checkpoints are in tests/resume/test_damaged.py.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorstore as ts
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from ssl_jax.errors import UserError
from ssl_jax.training import checkpoint_writer, stored_arrays
from ssl_jax.training.checkpoint_writer import PRUNED, CheckpointWriter
from ssl_jax.training.checkpoints import NOTES_FILE, Checkpoints
from ssl_jax.training.fingerprints import describe, fingerprint_on_host
from ssl_jax.training.memory import check_memory
from ssl_jax.training.state import TrainState
from tests import processes
from tests.training import toys

SILENT = pytest.fail
"""Of a log to which nothing may be written."""


def state_at(step: int, **params: jax.Array) -> TrainState:
    """A small state, different at every step."""
    params = params or {"w": jnp.full((8, 3), step, jnp.float32), "b": jnp.arange(5, dtype=jnp.bfloat16)}
    zero = jnp.zeros((), jnp.int32)
    return TrainState(jnp.int32(step), params, {"seen": jnp.arange(4) < step}, (), {}, zero)


def abstract(state: TrainState) -> TrainState:
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)


def save(folder: Path, *steps: int, **keep: int) -> CheckpointWriter:
    """A folder with the checkpoints of these steps, saved one after the other."""
    writer = CheckpointWriter(epath.Path(folder), **{"keep_latest": 9, **keep})
    for step in steps:
        writer.save(state_at(step), {})
    writer.wait()
    return writer


def flip(checkpoint: Path) -> None:
    """Changes bytes in the middle of the model's data."""
    file = max((checkpoint / "model").rglob("d/*"), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def test_the_latest_are_kept_and_those_of_every_so_many_steps(tmp_path: Path) -> None:
    writer = save(tmp_path, *range(1, 10), keep_latest=2, keep_every=4)
    assert writer.steps() == [4, 8, 9]
    assert {path.name for path in tmp_path.iterdir()} == {"4", "8", "9"}
    restored = writer.restore_newest(abstract(state_at(0)), SILENT)
    jax.tree.map(np.testing.assert_array_equal, restored, state_at(9))
    writer.close()


def test_nothing_older_is_removed_before_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    """On a disk that keeps something else than it was given."""
    writer = save(tmp_path, 1, keep_latest=1)
    writer.save(state_at(2), {})
    writer._pending[2].result()
    flip(tmp_path / "2")
    with pytest.raises(
        UserError,
        match=r"checkpoint 2 was written, but does not read back .*kept: 1\..* the same command again",
    ):
        writer.save(state_at(3), {})
    assert writer.steps() == [1, 2]
    writer.close()
    told: list[str] = []
    again = CheckpointWriter(epath.Path(tmp_path), keep_latest=1)
    assert int(again.restore_newest(abstract(state_at(0)), told.append).step) == 1
    assert "checkpoint 2 is damaged" in told[0]


@pytest.mark.parametrize("change", ["notes", "another step"])
def test_the_notes_are_read_back_too(change: str, tmp_path: Path) -> None:
    writer = save(tmp_path, 1)
    writer.save(state_at(2), {})
    writer._pending[2].result()
    if change == "notes":
        (tmp_path / "2" / NOTES_FILE).write_text("{}")
    else:
        (tmp_path / "2" / NOTES_FILE).write_bytes((tmp_path / "1" / NOTES_FILE).read_bytes())
    with pytest.raises(UserError, match="checkpoint 2 was written, but does not read back"):
        writer.wait()


class KilledError(BaseException):
    """Stands for kill -9."""


@pytest.mark.parametrize("where", ["check_stored", "rename", "rmtree"])
def test_a_kill_while_old_checkpoints_are_removed_leaves_whole_ones(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = save(tmp_path, 1, 2, keep_latest=2)
    writer.save(state_at(3), {})
    writer._pending[2].result()

    def killed(path: object, *_: object, **__: object) -> None:
        if where != "rmtree" or Path(path).exists():
            raise KilledError

    with monkeypatch.context() as patch:
        owner = checkpoint_writer if where == "check_stored" else type(epath.Path(tmp_path))
        patch.setattr(owner, where, killed)
        with pytest.raises(KilledError):
            writer.wait()
    assert (tmp_path / PRUNED).exists() == (where == "rmtree")
    after = CheckpointWriter(epath.Path(tmp_path), keep_latest=2)
    assert after.steps() == ([2, 3] if where == "rmtree" else [1, 2, 3])
    for step in after.steps():
        restored = after.restore(step, abstract(state_at(0)))
        jax.tree.map(np.testing.assert_array_equal, restored, state_at(step))
    after.save(state_at(4), {})
    after.close()
    assert {path.name for path in tmp_path.iterdir()} == {"3", "4"}


def test_a_file_or_link_with_the_name_of_a_step_is_not_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis").write_text("x")
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "1").write_text("x")
    (folder / "2").symlink_to(outside)
    save(folder, 3, 4, keep_latest=1)
    assert {path.name for path in folder.iterdir()} == {"1", "2", "4"}
    assert (outside / "thesis").exists()


@pytest.mark.parametrize(
    "name", ["lr[1e-3]", "*?", "[!a]{b,c}", "a b", "100%20#1?x=y&z", "é 漢字", "~", "-x"]
)
def test_a_folder_of_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "checkpoints"
    save(folder, 1, 2, 3, keep_latest=2).close()
    assert {path.name for path in folder.iterdir()} == {"2", "3"}
    restored = Checkpoints(epath.Path(folder)).restore(3, abstract(state_at(0)))
    jax.tree.map(np.testing.assert_array_equal, restored, state_at(3))


def test_a_relative_folder_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    writer = CheckpointWriter(epath.Path("run[1]/checkpoints/"), keep_latest=1)
    monkeypatch.chdir("/")
    writer.save(state_at(1), {})
    writer.close()
    assert writer.steps() == [1]
    assert (tmp_path / "run[1]" / "checkpoints" / "1").is_dir()


def test_a_run_in_a_folder_with_pattern_characters_is_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = tmp_path / "lr[1e-3]*?"
    for _ in range(2):
        assert toys.train(toys.experiment(steps=5), folder) == 0
    assert "continuing at step 5 of 5" in capsys.readouterr().out


@pytest.mark.parametrize("shape", [(8, 8), (16, 3), ()])
def test_arrays_are_restored_onto_another_mesh(shape: tuple[int, ...], tmp_path: Path) -> None:
    """Saved in eight pieces or whole, read in four, two or one."""
    mesh = Mesh(np.array(jax.devices()).reshape(2, 4), ("a", "b"))
    whole = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
    copied, alone = NamedSharding(mesh, PartitionSpec()), SingleDeviceSharding(jax.devices()[3])
    cut = [NamedSharding(mesh, PartitionSpec(axes)) for axes in ("a", "b", ("a", "b"))] if shape else []
    for number, place in enumerate([copied, alone, *cut]):
        state = jax.device_put(state_at(1), alone if place == alone else copied)
        state = state._replace(params={"x": jax.device_put(whole, place)})
        writer = CheckpointWriter(epath.Path(tmp_path / str(number)), keep_latest=1)
        writer.save(state, {})
        writer.close()
        for other in [copied, *cut]:
            x = jax.ShapeDtypeStruct(shape, np.float32, sharding=other)
            found = writer.restore(1, abstract(jax.device_put(state, copied))._replace(params={"x": x}))
            np.testing.assert_array_equal(found.params["x"], whole)
            assert found.params["x"].sharding == other


@pytest.mark.parametrize(
    "array",
    [
        np.linspace(-3, 3, 7, dtype=np.float32).reshape(7, 1),
        np.array([-1, 5, 2**31 - 1], np.int32),
        np.array([True, False, True]),
        np.arange(9).astype(jnp.bfloat16).reshape(3, 3),
        np.arange(-3, 3, dtype=np.int8),
        np.arange(7).astype(jnp.float8_e4m3fn),
        np.float32(2.5),
    ],
    ids=lambda array: array.dtype.name,
)
def test_fingerprints_are_the_same_on_host_and_device_and_survive_the_disk(
    array: np.ndarray, tmp_path: Path
) -> None:
    noted = describe({"x": array})["x"]
    assert noted["fingerprint"] == fingerprint_on_host(np.asarray(array))
    assert noted["dtype"] == array.dtype.name
    assert describe({"x": -array if array.dtype != bool else ~array})["x"] != noted
    state = state_at(1, x=jnp.asarray(array))
    writer = CheckpointWriter(epath.Path(tmp_path), keep_latest=1)
    writer.save(state, {})
    writer.close()
    np.testing.assert_array_equal(writer.restore(1, abstract(state)).params["x"], array)


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (jnp.zeros((2, 0)), r"shape \(2, 0\) and dtype float32"),
        (jnp.zeros(3, jnp.complex64), "dtype complex64"),
        (jnp.zeros(3, jnp.int4), "dtype int4"),
        (jax.random.key(0), "dtype key"),
    ],
)
def test_what_no_checkpoint_holds_is_refused_before_the_first_step(
    array: jax.Array, told: str, tmp_path: Path
) -> None:
    method = toys.noisy_regression()
    refused = method._replace(init=lambda rng, batch: {**method.init(rng, batch), "memory": array})
    with pytest.raises(UserError, match=f"model/memory is an array of .*{told}.*Change"):
        toys.train(toys.experiment(method=refused), tmp_path / "run")
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


REFUSED = """
import sys
from pathlib import Path
import jax.numpy as jnp
from ssl_jax.guard import guarded
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from tests.training import toys

CheckpointWriter._check_storable = lambda *_: None  # as if the check did not know what the library refuses
method = toys.noisy_regression()


def init(rng, batch):
    variables = method.init(rng, batch)
    return variables | {"params": variables["params"] | {"unused": jnp.zeros((2, 0))}}


experiment = toys.experiment(steps=5, method=method._replace(init=init), mesh=toys.MeshConfig())
sys.exit(guarded(lambda: toys.train(experiment, Path(sys.argv[1]))))
"""


def test_a_save_that_the_library_refuses_ends_the_process_with_the_reason(tmp_path: Path) -> None:
    """Although threads of the library then wait for what never comes."""
    command = [sys.executable, "-c", REFUSED, str(tmp_path / "run")]
    environment = processes.environment()
    done = subprocess.run(
        command, env=environment, cwd=processes.ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    error = done.stderr.splitlines()[-1]
    assert re.search(
        r"a checkpoint could not be written \(Cannot save arrays with zero size.*kept: none\.", error
    )
    assert "Free some space" not in error


def test_more_memory_than_there_is_is_never_taken(tmp_path: Path) -> None:
    method = toys.noisy_regression()

    def init(rng, batch):
        variables = method.init(rng, batch)
        return variables | {"params": variables["params"] | {"unused": jnp.zeros((2**30, 2**20))}}

    with pytest.raises(
        UserError, match=r"run: its arrays take [0-9,]+\.\d GiB of the [0-9,]+\.\d GiB of memory"
    ):
        toys.train(toys.experiment(method=method._replace(init=init)), tmp_path / "run")


def test_memory_is_counted_for_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Mesh(np.array(jax.devices()), ("a",))
    one_page = os.sysconf("SC_PAGE_SIZE")
    monkeypatch.setattr(os, "sysconf", lambda name: one_page if name == "SC_PAGE_SIZE" else 8)

    def tree(rows: int, *axes: str) -> dict[str, jax.ShapeDtypeStruct]:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return {"x": jax.ShapeDtypeStruct((rows, one_page), np.int8, sharding=sharding)}

    check_memory(tree(8, "a"), "cut")
    check_memory(tree(1), "copied")
    for rows, axes in ((16, ["a"]), (2, [])):
        with pytest.raises(UserError, match="x: its arrays take"):
            check_memory(tree(rows, *axes), "x")


@pytest.mark.parametrize(
    "changes",
    [
        lambda arrays: arrays.update({"../outside/w": arrays["model/params/w"]}),
        lambda arrays: arrays.update({"model/params/w/x": arrays["model/params/w"]}),
        lambda arrays: arrays["model/params/w"].update(dtype="object"),
        lambda arrays: arrays["model/params/w"].update(shape=[2**62, 2**62]),
        lambda arrays: arrays["model/params/w"].update(shape=[-1]),
        lambda arrays: arrays["model/params/w"].update(shape="8"),
        lambda arrays: arrays.pop("training/step"),
        lambda arrays: arrays.clear(),
    ],
)
def test_notes_of_a_stranger_are_not_believed(changes: Callable[[dict], None], tmp_path: Path) -> None:
    save(tmp_path, 1)
    file = tmp_path / "1" / NOTES_FILE
    content = json.loads(file.read_text())
    changes(content["custom_metadata"]["arrays"])
    file.write_text(json.dumps(content))
    checkpoints = Checkpoints(epath.Path(tmp_path))
    place = SingleDeviceSharding(jax.devices()[0])

    def start_from() -> None:
        shapes = checkpoints.model_shapes(1)
        checkpoints.restore_model(
            1, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), shapes)
        )

    for read in (start_from, lambda: checkpoints.restore(1, abstract(state_at(0)))):
        with pytest.raises(UserError, match=r"checkpoint 1 is damaged|its arrays take"):
            read()


@pytest.mark.parametrize(("shape", "chunk"), [([2**40], [8]), ([8, 3], [2**14, 2**14])])
def test_arrays_of_a_stranger_take_no_memory(shape: list[int], chunk: list[int], tmp_path: Path) -> None:
    """A file of a few bytes, which its notes confirm, may state any size."""
    save(tmp_path, 1)
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
    spec = stored_arrays._spec(epath.Path(tmp_path / "1"), "model/params/w")
    codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    metadata = {"shape": shape, "data_type": "float32", "chunk_grid": grid, "codecs": codecs}
    ts.open(spec | {"metadata": metadata}, create=True, delete_existing=True).result()
    file = tmp_path / "1" / NOTES_FILE
    content = json.loads(file.read_text())
    content["custom_metadata"]["arrays"]["model/params/w"]["shape"] = shape
    file.write_text(json.dumps(content))
    checkpoints = Checkpoints(epath.Path(tmp_path))
    place = SingleDeviceSharding(jax.devices()[0])
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), checkpoints.model_shapes(1)
    )
    with pytest.raises(
        UserError, match=r"its arrays take [0-9,]+\.0 GiB of|params/w has another shape or dtype"
    ):
        checkpoints.restore_model(1, shapes)
