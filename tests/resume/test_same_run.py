"""What may change between a run and its continuation, and what is refused with nothing lost."""

import errno
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import grain
import numpy as np
import optax
import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training import checkpoint_writer
from ssl_jax.training.changes import changed_values, differences
from ssl_jax.training.checkpoint_writer import CheckpointWriter
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.sharding import MeshConfig, make_mesh
from tests import processes
from tests.training import toys

STEPS = ["--steps", 40, "--train.log_every", 5, "--train.save_every", 20, "--train.eval_every", 20]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert processes.run("experiments.minimal", STEPS, folder)[0] == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def refusal(arguments: list[object], folder: Path, **options) -> str:
    """The one paragraph on stderr of a command that has to fail."""
    code, _, err = processes.run("experiments.minimal", arguments, folder, **options)
    assert code == 2
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_another_configuration_is_refused_with_the_differences_listed(finished: Path) -> None:
    before = contents(finished)
    err = refusal([*STEPS, "--train.seed", 3, "--noise", 0.1], finished)
    assert "train.seed: 0 -> 3" in err
    assert "; noise: 0.3 -> 0.1" in err
    assert contents(finished) == before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a real file system of such a size, or gives it another one; its path is long, as errors quote it."""
    folder = tmp_path / ("long" * 50) / "disk"
    folder.mkdir(parents=True)
    mounted = False

    def disk(size: str) -> Path:
        nonlocal mounted
        options = f"remount,size={size}" if mounted else f"size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"needs to mount a file system: {done.stderr.decode().strip()}")
        mounted = True
        return folder

    yield disk
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_during_a_save_keeps_the_checkpoints_and_the_run_continues(
    disk: Callable[[str], Path], tmp_path: Path
) -> None:
    """A checkpoint of 3 x 1 MB of noise fits twice; no log is due before the failed save is told of."""
    folder, whole = disk("8m") / "run", tmp_path / "whole"
    rhythm = ["--steps", 50, "--train.save_every", 10, "--train.log_every", 50, "--train.eval_every", 50]
    arguments = [*rhythm, "--width", 2048, "--train.keep_latest", 5]
    err = refusal(arguments, folder)
    assert (
        "a checkpoint could not be written (No space left on device). Complete checkpoints kept: 10, 20. "
        in err
    )
    assert {path.name for path in (folder / "checkpoints").iterdir() if path.name.isdigit()} == {"10", "20"}
    disk("64m")
    code, out, err = processes.run("experiments.minimal", arguments, folder)
    assert (code, err) == (0, "")
    assert "continuing at step 20 of 50" in out
    assert processes.run("experiments.minimal", arguments, whole)[0] == 0
    assert processes.log(folder) == processes.log(whole)
    ours, theirs = (
        Checkpoints(epath.Path(run) / "checkpoints").notes(50)["arrays"] for run in (folder, whole)
    )
    assert ours == theirs


def test_a_full_disk_is_told_whichever_file_meets_it_first(disk: Callable[[str], Path]) -> None:
    """Between no space for the first file of a draft and enough for all of them."""
    folder = disk("2m")
    state = Program(toys.experiment(), make_mesh(MeshConfig(data=8))).initial_state()
    outcomes = set()
    for kilobytes in range(0, 240, 12):
        checkpoints = CheckpointWriter(epath.Path(folder) / str(kilobytes), keep_latest=1)
        (folder / "filler").write_bytes(b"")
        (folder / "filler").write_bytes(bytes(shutil.disk_usage(folder).free - 1024 * kilobytes))
        try:
            checkpoints.save(state, {})
            checkpoints.wait()
            outcomes.add("saved")
        except UserError as error:
            outcomes.add(str(error).split(": ", 1)[1].split(" Free some")[0])
        (folder / "filler").unlink()
        checkpoints.close()
        shutil.rmtree(folder / str(kilobytes), ignore_errors=True)  # threads of a failed save may still write
    failed = "a checkpoint could not be written (No space left on device). Complete checkpoints kept: none."
    assert outcomes == {"saved", failed}


@pytest.mark.parametrize(
    ("error", "cause", "told"),
    [
        (ValueError("Saving failed"), OSError(errno.ENOSPC, "Full", "/file"), "No space left on device"),
        (ValueError(f"PERMISSION_DENIED: {400 * 'x'} [os_error_code='13']"), None, "Permission denied"),
        (ValueError(f"UNAVAILABLE: {400 * 'x'}\nAll attempts failed"), None, "All attempts failed"),
    ],
)
def test_why_a_checkpoint_could_not_be_written(
    error: Exception, cause: Exception | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise error from cause

    checkpoints = CheckpointWriter(epath.Path(tmp_path), keep_latest=1)
    monkeypatch.setattr(checkpoint_writer.ocp, "save_checkpointables_async", fails)
    state = Program(toys.experiment(), make_mesh(MeshConfig(data=8))).initial_state()
    with pytest.raises(UserError, match=re.escape(f"could not be written ({told})")):
        checkpoints.save(state, {})
    checkpoints.close()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Below a regular file, since nothing else stops root."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match=r"file/run cannot be written \(Not a directory\)"):
        toys.train(toys.experiment(), tmp_path / "file" / "run")


def test_other_data_is_refused(tmp_path: Path) -> None:
    identity = {"tokenizer": "abc", "corpus": "1"}
    assert toys.train(toys.experiment(steps=5, identity=identity), tmp_path / "run") == 0
    with pytest.raises(UserError, match="tokenizer: 'abc' -> 'xyz'"):
        toys.train(toys.experiment(steps=5, identity={**identity, "tokenizer": "xyz"}), tmp_path / "run")
    assert toys.train(toys.experiment(steps=5, identity=identity), tmp_path / "run") == 0


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    assert toys.train(toys.experiment(steps=5), tmp_path / "run") == 0
    (tmp_path / "run" / "config.json").write_text('{"config": {')
    with pytest.raises(UserError, match=r"config.json: not JSON"):
        toys.train(toys.experiment(steps=5), tmp_path / "run")


def test_differences_name_what_was_added_and_removed() -> None:
    old = {"config": {"a": 1, "b": [1, 2], "mesh": {"fsdp": 1}}}
    new = {"config": {"a": 1, "c": {"d": None}, "mesh": {"fsdp": 8}}}
    assert differences(changed_values(old, new)) == "b: [1, 2] -> None"


@pytest.mark.parametrize("mesh", [MeshConfig(data=2, fsdp=4), MeshConfig(data=1, tensor=8)])
def test_another_mesh_continues_the_curve(mesh: MeshConfig, tmp_path: Path) -> None:
    assert toys.train(toys.experiment(), tmp_path / "whole") == 0
    assert toys.train(toys.experiment(), tmp_path / "run") == 0
    for step in (15, 20):
        shutil.rmtree(tmp_path / "run" / "checkpoints" / str(step), ignore_errors=True)
    shutil.copytree(tmp_path / "whole" / "checkpoints" / "15", tmp_path / "run" / "checkpoints" / "15")
    assert toys.train(toys.experiment(mesh=mesh), tmp_path / "run") == 0
    whole, run = toys.log(tmp_path / "whole"), toys.log(tmp_path / "run")
    assert [(line["step"], line.get("split")) for line in run] == [(x["step"], x.get("split")) for x in whole]
    assert run[:15] == whole[:15]
    for ours, theirs in zip(run, whole, strict=True):
        np.testing.assert_allclose(ours["error"], theirs["error"], rtol=1e-4)


@pytest.mark.parametrize("device_counts", [(1, 4)])
def test_another_number_of_devices_continues_the_curve(
    device_counts: tuple[int, int], finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "checkpoints" / "40")
    code, out, err = processes.run("experiments.minimal", STEPS, folder, devices=4)
    assert (code, err) == (0, "")
    assert "continuing at step 20 of 40" in out
    for ours, theirs in zip(processes.log(folder), processes.log(finished), strict=True):
        np.testing.assert_allclose(list_of(ours), list_of(theirs), rtol=1e-4)


def list_of(line: dict) -> list[float]:
    return [value for value in line.values() if isinstance(value, float)]


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    code, _, err = processes.run("experiments.minimal", ["--train.log_every", 0], tmp_path / "run")
    assert (code, err) == (2, "error: --train.log_every 0: expected an integer from 1 to 2,147,483,647.\n")
    with pytest.raises(UserError, match="a phase of 0 steps; it must have at least 1"):
        toys.train(toys.experiment(steps=0), tmp_path / "run")
    with pytest.raises(UserError, match="batch_size 12 cannot be dealt out evenly"):
        toys.train(toys.experiment(train={"batch_size": 12}), tmp_path / "run")
    with pytest.raises(UserError, match=r"need a multiple of 24"):
        toys.train(toys.experiment(train={"micro_batches": 3}), tmp_path / "run")
    with pytest.raises(UserError, match="does not make the 8 devices at hand"):
        toys.train(toys.experiment(mesh=MeshConfig(data=3)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_empty_data_is_refused_and_little_data_repeats(tmp_path: Path) -> None:
    nothing = grain.MapDataset.source([])
    with pytest.raises(UserError, match="the heldout data is empty"):
        toys.train(toys.experiment(heldout=nothing), tmp_path / "heldout")
    with pytest.raises(UserError, match="the training data is empty"):
        toys.train(toys.experiment(training=nothing), tmp_path / "training")
    assert toys.train(toys.experiment(training=toys.endless(3)), tmp_path / "three") == 0


def changes_of(folder: Path) -> list[dict[str, object]]:
    return [
        {name: value for name, value in change.items() if name != "command"}
        for change in json.loads((folder / "continued.json").read_text())
    ]


def of_run(steps: int, **train: int) -> dict[str, object]:
    """Settings of a run, as its config.json has them."""
    rhythm = {"log_every": 1, "eval_every": 10, "save_every": 5, **train}
    return {"init_from": None, "config": {"steps": steps, "train": rhythm, "data": {"source": "here"}}}


def test_a_run_may_be_given_more_steps_and_other_intervals(tmp_path: Path, capsys) -> None:
    """The steps, the data and the noise are those of a run that had as many steps from the start, but for the rate."""
    folder = tmp_path / "run"
    constant = {"optimizer": optax.sgd(1e-2)}
    assert toys.train(toys.experiment(steps=10, **constant), folder, of_run(10)) == 0
    capsys.readouterr()
    other = {"log_every": 4, "eval_every": 8, "save_every": 8}
    longer = toys.experiment(steps=20, train=other, **constant)
    assert toys.train(longer, folder, of_run(20, **other)) == 0
    out = capsys.readouterr().out
    assert "continuing at step 10 of 20, with steps: 10 -> 20; train.log_every: 1 -> 4; " in out
    # The schedule of 10 steps ended at 1/10; half of that of 20 is left.
    assert "learning_rate is that of a run of 20 steps from here on: it goes from 0.1 to 0.5" in out
    before = {"config.steps": 10, "config.train.log_every": 1}
    before |= {"config.train.eval_every": 10, "config.train.save_every": 5}
    after = {"config.steps": 20, "config.train.log_every": 4}
    after |= {"config.train.eval_every": 8, "config.train.save_every": 8}
    assert changes_of(folder) == [{"step": 10, "before": before, "after": after}]
    lines = toys.log(folder)
    assert [line["step"] for line in lines if "split" not in line] == [*range(1, 11), 12, 16, 20]
    assert [line["step"] for line in lines if "split" in line] == [10, 16, 20]
    assert toys.train(toys.experiment(steps=20, **constant), tmp_path / "whole") == 0
    assert lines[-1] == toys.log(tmp_path / "whole")[-1]  # the evaluation after step 20

    assert toys.train(longer, folder, of_run(20, **other)) == 0  # the same command again
    assert len(changes_of(folder)) == 1
    assert "is not what the run wrote" not in capsys.readouterr().out


def test_fewer_steps_and_anything_else_are_refused_alone_with_what_differs(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert toys.train(toys.experiment(steps=10), folder, of_run(10)) == 0
    before = contents(folder)
    with pytest.raises(UserError, match=r"Different \(old -> new\): steps: 10 -> 5\. Give"):
        toys.train(toys.experiment(steps=5), folder, of_run(5, log_every=5))
    views = {"init_from": None, "config": {**of_run(10)["config"], "views": [{"size": 8, "flip": 0}]}}
    (folder / "config.json").write_text(json.dumps(views))
    views = json.loads(json.dumps(views).replace('"size": 8', '"size": 24'))
    with pytest.raises(UserError, match=r"Different \(old -> new\): views\.0\.size: 8 -> 24\. Give"):
        toys.train(toys.experiment(steps=10), folder, views)
    (folder / "config.json").write_bytes(before["config.json"])
    assert contents(folder) == before


def test_data_may_be_in_another_place_if_it_is_the_same(tmp_path: Path) -> None:
    moved = json.loads(json.dumps(of_run(10)).replace("here", "there"))
    same = toys.experiment(steps=10, identity={"corpus": "1"})
    assert toys.train(same, tmp_path / "run", of_run(10)) == 0
    other = toys.experiment(steps=10, identity={"corpus": "2"})
    with pytest.raises(UserError, match=r"corpus: '1' -> '2'.*--data\.source"):
        toys.train(other, tmp_path / "run", moved)
    assert toys.train(same, tmp_path / "run", moved) == 0
    assert changes_of(tmp_path / "run")[0]["after"] == {"config.data.source": "there"}


def test_a_damaged_list_of_changes_is_named(tmp_path: Path) -> None:
    assert toys.train(toys.experiment(steps=10), tmp_path / "run", of_run(10)) == 0
    change = {"step": 5, "before": {"config.train.log_every": 0}, "after": {"config.train.log_every": 1}}
    (tmp_path / "run" / "continued.json").write_text(json.dumps([change]))
    with pytest.raises(UserError, match=r"continued\.json: config\.train\.log_every 0;"):
        toys.train(toys.experiment(steps=10), tmp_path / "run", of_run(10))
