"""Damaged checkpoints: named, set aside, continued from the one before, with the same curve; never from scratch."""

import shutil
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.errors import UserError
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.sharding import make_mesh
from tests.training import toys

KEPT = {"keep_latest": 4}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert toys.train(toys.experiment(train=KEPT), folder) == 0
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"5", "10", "15", "20"}
    return folder


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
    file = data_files(checkpoint)[0]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(checkpoint: Path) -> None:
    """Changes bytes in the middle of every file of data."""
    for file in data_files(checkpoint):
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 4] = bytes(255 - byte for byte in content[middle : middle + 4])
        file.write_bytes(content)


def delete_data(checkpoint: Path) -> None:
    data_files(checkpoint)[0].unlink()


def delete_model(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint / "model")


def delete_metadata(checkpoint: Path) -> None:
    (checkpoint / "_CHECKPOINT_METADATA").unlink()


def delete_array_metadata(checkpoint: Path) -> None:
    (checkpoint / "training" / "_METADATA").unlink()


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


DAMAGES = (truncate, flip, delete_data, delete_model, delete_metadata, delete_array_metadata, empty)


@pytest.mark.parametrize("damage", DAMAGES)
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
    checkpoints = Checkpoints(epath.Path(tmp_path), keep_latest=5)
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
