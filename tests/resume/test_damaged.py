"""Damaged checkpoints: named, set aside, continued from the one before, with the same curve; never from scratch.

What cannot be read for a reason outside of the checkpoint is not damage: it is told, and nothing is moved.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.errors import UserError
from ssl_jax.training import stored_arrays
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.checkpoints import NOTES_FILE, Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.sharding import make_mesh
from ssl_jax.training.state import TrainState
from tests.training import toys

KEPT = {"keep_latest": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert toys.train(toys.experiment(train=KEPT), folder) == 0
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"5", "10", "15", "20"}
    return folder


@pytest.fixture(scope="module")
def abstract() -> TrainState:
    return Program(toys.experiment(train=KEPT), make_mesh(toys.MeshConfig(data=8))).state


@pytest.fixture
def interrupted(finished: Path, tmp_path: Path) -> Path:
    """As if killed after step 15."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "checkpoints" / "20")
    return folder


def data_files(checkpoint: Path) -> list[Path]:
    return sorted(
        (file for file in checkpoint.rglob("d/*") if file.is_file()), key=lambda f: -f.stat().st_size
    )


def truncate(checkpoint: Path) -> None:
    file = data_files(checkpoint / "model")[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(checkpoint: Path) -> None:
    """Changes bytes in the middle of every file of data."""
    for file in data_files(checkpoint):
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 4] = bytes(255 - byte for byte in content[middle : middle + 4])
        file.write_bytes(content)


def delete_data(checkpoint: Path) -> None:
    data_files(checkpoint / "model")[0].unlink()


def delete_model(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "model")


def delete_metadata(checkpoint: Path) -> None:
    (checkpoint / "_CHECKPOINT_METADATA").unlink()


def empty_manifest(checkpoint: Path) -> None:
    (checkpoint / "model" / "manifest.ocdbt").write_bytes(b"")


def data_to_folder(checkpoint: Path) -> None:
    for file in data_files(checkpoint):
        file.unlink()
        file.mkdir()


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def become_file(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.write_text("lost")


def become_another(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    shutil.copytree(checkpoint.with_name("5"), checkpoint)


def change_notes(**changes: object) -> Callable:
    """Of one array of the model."""

    def change(checkpoint: Path) -> None:
        content = json.loads((checkpoint / NOTES_FILE).read_text())
        content["custom_metadata"]["arrays"]["model/params/w"] |= changes
        (checkpoint / NOTES_FILE).write_text(json.dumps(content))

    return change


DAMAGES = {
    "data truncated": truncate,
    "data flipped": flip,
    "data deleted": delete_data,
    "data replaced by folders": data_to_folder,
    "model deleted": delete_model,
    "manifest emptied": empty_manifest,
    "notes deleted": delete_metadata,
    "other fingerprint noted": change_notes(fingerprint=1),
    "other dtype noted": change_notes(dtype="int32"),
    "other shape noted": change_notes(shape=[1, 16]),
    "huge shape noted": change_notes(shape=[2**40, 2**20]),
    "no dtype noted": change_notes(dtype="floatish"),
    "text for a fingerprint": change_notes(fingerprint="1"),
    "emptied": empty,
    "a file": become_file,
    "another step's": become_another,
}


@pytest.mark.parametrize("damage", [flip, delete_metadata, empty, become_file])
def test_falls_back_to_the_checkpoint_before(
    damage: Callable, finished: Path, interrupted: Path, capsys: pytest.CaptureFixture
) -> None:
    damage(interrupted / "checkpoints" / "15")
    assert toys.train(toys.experiment(train=KEPT), interrupted) == 0
    out = capsys.readouterr().out
    assert "checkpoint 15 is damaged (" in out
    assert "continuing at step 10 of 20" in out
    assert (interrupted / "damaged" / "15").exists()
    assert toys.log(interrupted) == toys.log(finished)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damage_is_told_to_readers_and_set_aside_by_the_run(
    damage: Callable, interrupted: Path, abstract: TrainState
) -> None:
    folder = epath.Path(interrupted / "checkpoints")
    damage(interrupted / "checkpoints" / "15")
    checkpoints = Checkpoints(folder)
    with pytest.raises(UserError) as error:
        checkpoints.restore_model(15, abstract.variables)
    message = str(error.value)
    assert message.startswith(f"{interrupted}: checkpoint 15 is damaged (")
    assert f"The one before it is {interrupted}@10; " in message
    assert "\n" not in message
    assert checkpoints.steps() == [5, 10, 15]
    lines: list[str] = []
    assert int(CheckpointWriter(folder, **KEPT).restore_newest(abstract, lines.append).step) == 10
    assert len(lines) == 1
    assert lines[0].endswith(f"moved to {interrupted / 'damaged' / '15'}")
    assert checkpoints.steps() == [5, 10]


def test_a_reader_skips_older_damage(interrupted: Path, abstract: TrainState) -> None:
    checkpoints = Checkpoints(epath.Path(interrupted / "checkpoints"))
    flip(interrupted / "checkpoints" / "15")
    delete_model(interrupted / "checkpoints" / "10")
    with pytest.raises(UserError, match=r"run@5; or bring"):
        checkpoints.model_shapes(15) and checkpoints.restore_model(15, abstract.variables)
    with pytest.raises(UserError, match=r"checkpoint 10 is damaged .*run@5; or bring"):
        checkpoints.restore_model(10, abstract.variables)
    flip(interrupted / "checkpoints" / "5")
    with pytest.raises(UserError, match=r"checkpoint 5 is damaged .*no sound one before it"):
        checkpoints.restore_model(5, abstract.variables)


def rename_key(checkpoint: Path) -> None:
    """As a flipped bit does."""
    file = checkpoint / NOTES_FILE
    file.write_text(file.read_text().replace("item_handlers", "iTem_handlers"))


@pytest.mark.parametrize("damage", [rename_key, delete_metadata, empty, become_file])
def test_a_run_goes_on_beside_older_damage(damage: Callable, finished: Path, interrupted: Path) -> None:
    damage(interrupted / "checkpoints" / "5")
    assert toys.train(toys.experiment(train=KEPT), interrupted) == 0
    assert toys.log(interrupted) == toys.log(finished)


def test_what_the_library_notes_for_itself_may_be_lost(finished: Path, interrupted: Path) -> None:
    for part in ("model", "training"):
        for name in ("_METADATA", "_sharding"):
            (interrupted / "checkpoints" / "15" / part / name).unlink()
    assert toys.train(toys.experiment(train=KEPT), interrupted) == 0
    assert not (interrupted / "damaged").exists()
    assert toys.log(interrupted) == toys.log(finished)


def test_what_was_damaged_before_is_not_overwritten(interrupted: Path) -> None:
    (interrupted / "damaged" / "15").mkdir(parents=True)
    (interrupted / "damaged" / "15" / "kept").write_text("x")
    flip(interrupted / "checkpoints" / "15")
    assert toys.train(toys.experiment(train=KEPT), interrupted) == 0
    assert (interrupted / "damaged" / "15" / "kept").exists()
    assert (interrupted / "damaged" / "15-2" / "model").exists()


def test_none_left_is_refused_now_and_later(interrupted: Path, capsys: pytest.CaptureFixture) -> None:
    for damage, checkpoint in zip(
        (truncate, flip, empty), (interrupted / "checkpoints").iterdir(), strict=True
    ):
        damage(checkpoint)
    for _ in range(2):
        with pytest.raises(UserError, match="none of the checkpoints can be read"):
            toys.train(toys.experiment(train=KEPT), interrupted)
    assert capsys.readouterr().out.count("is damaged") == 3


def test_a_sound_checkpoint_of_another_model_is_not_called_damaged(interrupted: Path) -> None:
    method = toys.noisy_regression()

    def with_another(rng, batch):
        variables = method.init(rng, batch)
        return {**variables, "params": {**variables["params"], "other": jnp.zeros(3)}}

    other = method._replace(init=with_another)
    with pytest.raises(UserError, match=r"other code.*3 arrays differ, such as model/params/other"):
        toys.train(toys.experiment(train=KEPT, method=other), interrupted)
    assert not (interrupted / "damaged").exists()


def test_a_sound_checkpoint_of_other_dtypes_stays_where_it_is(interrupted: Path) -> None:
    """As after another setting of JAX's default dtypes."""
    method = toys.noisy_regression()

    def with_half_precision(rng, batch):
        variables = method.init(rng, batch)
        return {**variables, "params": jax.tree.map(lambda x: x.astype(jnp.bfloat16), variables["params"])}

    other = method._replace(init=with_half_precision)
    with pytest.raises(
        UserError, match=r"15 is sound, but .* another dtype here, .* float32 there, bfloat16 here"
    ):
        toys.train(toys.experiment(train=KEPT, method=other), interrupted)
    assert not (interrupted / "damaged").exists()


def restore(folder: Path, abstract: TrainState) -> None:
    """What a run does with its checkpoints when it starts."""
    checkpoints = CheckpointWriter(epath.Path(folder / "checkpoints"), **KEPT)
    assert int(checkpoints.restore_newest(abstract, lambda line: pytest.fail(line)).step) == 15


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, which may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    "path", [".", "model", "model/manifest.ocdbt", NOTES_FILE, "training/ocdbt.process_0"]
)
def test_a_checkpoint_that_may_not_be_read_is_not_damaged(
    path: str, interrupted: Path, abstract: TrainState
) -> None:
    with tempfile.TemporaryDirectory() as public:  # pytest's folders are of their owner alone
        os.chmod(public, 0o755)
        folder = Path(public) / "run"
        shutil.copytree(interrupted, folder)
        closed = folder / "checkpoints" / "15" / path
        mode = closed.stat().st_mode
        closed.chmod(0)
        writer = CheckpointWriter(epath.Path(folder / "checkpoints"), **KEPT)
        with (
            as_nobody(),
            pytest.raises(UserError, match=r"cannot be read here \(Permission denied\).*not damage"),
        ):
            writer.restore_newest(abstract, lambda line: pytest.fail(line))
        assert not (folder / "damaged").exists()
        closed.chmod(mode)
        with as_nobody():
            assert int(writer.restore_newest(abstract, lambda line: pytest.fail(line)).step) == 15


@pytest.mark.parametrize("path", ["model/manifest.ocdbt", "training", "."])
def test_a_link_in_a_checkpoint_is_not_followed(path: str, interrupted: Path, abstract: TrainState) -> None:
    link = interrupted / "checkpoints" / "15" / path
    link.rename(interrupted / "elsewhere")
    link.symlink_to(interrupted / "elsewhere")
    with pytest.raises(UserError, match="is neither a file nor a folder but a link or a device"):
        restore(interrupted, abstract)
    with pytest.raises(UserError, match="is neither a file nor a folder but a link or a device"):
        Checkpoints(epath.Path(interrupted / "checkpoints")).restore_model(15, abstract.variables)
    assert link.is_symlink()
    assert not (interrupted / "damaged").exists()


def raising(error: Exception) -> Callable:
    """A function that raises an error, whatever it is given."""

    def fails(*_: object, **__: object) -> None:
        raise error

    return fails


FAILURES = {
    "a bad disk": (ValueError("INTERNAL: read [os_error_code='5']"), "Input/output error"),
    "no host memory": (MemoryError(), "MemoryError"),
    "files of the process": (ValueError("RESOURCE_EXHAUSTED: x [os_error_code='24']"), "Too many open files"),
    "no network": (ValueError("UNAVAILABLE: All retries failed"), "All retries failed"),
    "what nobody knows": (RuntimeError("The moon is full"), "The moon is full"),
}


@pytest.mark.parametrize(("error", "told"), FAILURES.values(), ids=FAILURES)
def test_a_failure_of_the_system_is_not_damage(
    error: Exception, told: str, interrupted: Path, abstract: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    future = SimpleNamespace(result=raising(error))
    with monkeypatch.context() as patch:
        patch.setattr(stored_arrays.ts, "open", lambda *_, **__: future)
        with pytest.raises(UserError, match=f"15 cannot be read here .*{told}.*this is not damage"):
            restore(interrupted, abstract)
    assert not (interrupted / "damaged").exists()
    restore(interrupted, abstract)


def test_a_full_device_is_not_damage(
    interrupted: Path, abstract: TrainState, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes.")
    with monkeypatch.context() as patch:
        patch.setattr(jax, "make_array_from_callback", raising(full))
        with pytest.raises(UserError, match=r"15 cannot be read here \(RESOURCE_EXHAUSTED: Out of memory"):
            restore(interrupted, abstract)
    assert not (interrupted / "damaged").exists()
    restore(interrupted, abstract)


def test_what_is_saved_is_the_state_of_that_step_while_training_goes_on(tmp_path: Path) -> None:
    """The step overwrites its donated state at once; an asynchronous save has to copy it before."""
    mesh = make_mesh(toys.MeshConfig(fsdp=8))
    program = Program(toys.experiment(), mesh)
    state = program.initial_state()
    large = jax.device_put(jnp.zeros((8, 250_000)), NamedSharding(mesh, PartitionSpec("fsdp")))
    small = jax.device_put(jnp.zeros(()), NamedSharding(mesh, PartitionSpec()))
    state = state._replace(params={"large": large, "small": small})
    advance = jax.jit(
        lambda s: s._replace(step=s.step + 1, params=jax.tree.map(lambda x: x + 1, s.params)),
        donate_argnums=0,
    )
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    checkpoints = CheckpointWriter(epath.Path(tmp_path), keep_latest=5)
    for step in range(1, 21):
        previous, state = state, advance(state)
        # What a save still reads is not donated, where device and host memory are the same.
        assert previous.params["large"].is_deleted() or step % 5 == 1
        if step % 5 == 0:
            checkpoints.save(state, {})
    checkpoints.wait()
    assert checkpoints.steps() == [5, 10, 15, 20]
    for step in checkpoints.steps():
        restored = checkpoints.restore(step, abstract)
        assert int(restored.step) == step
        for leaf in jax.tree.leaves(restored.params):
            np.testing.assert_array_equal(leaf, np.full(leaf.shape, step, np.float32))
    checkpoints.close()
