"""The run folder: when it is claimed, what may be claimed anew, and that nothing outside of it is reached."""

import errno
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import grain
import pytest
from etils import epath

from ssl_jax import files
from ssl_jax.errors import UserError
from ssl_jax.training import folder as run_folder
from ssl_jax.training.experiment import Data, Experiment, Start
from ssl_jax.training.sharding import MeshConfig
from tests.training import toys

OLD, NEW = {"config": {"seed": 0}}, {"config": {"seed": 1}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the settings OLD with one checkpoint."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert toys.train(toys.experiment(steps=5), folder, OLD) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def writing_tokenizer(text: str) -> Experiment:
    """An experiment whose data writes a tokenizer into the run folder, unless there is one."""
    experiment = toys.experiment(steps=5)

    def open_data(folder: epath.Path) -> Data:
        file = folder / "vocab.txt"
        if not file.exists():
            file.write_text(text)
        return experiment.open_data(folder)._replace(identity={"tokenizer": file.read_text()})

    return experiment._replace(open_data=open_data)


def mistaken(what: str) -> Experiment:
    """An experiment that can be refused only after something has been read or traced."""
    experiment = toys.experiment(steps=5)

    def refuse(*_: object) -> None:
        raise UserError("there is no such thing")

    def after_writing(folder: epath.Path) -> Data:
        (folder / "vocab.txt").write_text("half of a tokenizer")
        raise UserError("there is no such thing")

    return {
        "data": lambda: experiment._replace(open_data=after_writing),
        "empty data": lambda: toys.experiment(steps=5, heldout=grain.MapDataset.source([])),
        "optimizer": lambda: experiment._replace(optimizer=experiment.optimizer._replace(init=refuse)),
        "init_from": lambda: experiment._replace(starts=(Start("a run", lambda *_: None, refuse),)),
        "mesh": lambda: toys.experiment(mesh=MeshConfig(data=3)),
        "phase": lambda: toys.experiment(steps=0),
    }[what]()


@pytest.mark.parametrize("what", ["data", "empty data", "optimizer", "init_from", "mesh", "phase"])
def test_a_mistake_leaves_no_folder_behind(what: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        toys.train(mistaken(what), tmp_path / "run", OLD)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()  # one that the user has made stays, empty
    with pytest.raises(UserError):
        toys.train(mistaken(what), tmp_path / "run", OLD)
    assert list((tmp_path / "run").iterdir()) == []


def test_a_run_without_a_checkpoint_may_be_claimed_anew(run: Path) -> None:
    """Killed before its first save: nothing is lost, and nothing of it goes into the new run."""
    shutil.rmtree(run / "checkpoints" / "5")
    for name in ("vocab.txt", "tokenizer_config.json", "notes.md"):
        (run / name).write_text("old")
    events = {file.name for file in (run / "tensorboard").rglob("events*")}
    assert toys.train(writing_tokenizer("new"), run, NEW) == 0
    assert json.loads((run / "config.json").read_text()) == NEW
    assert json.loads((run / "data.json").read_text())["tokenizer"] == "new"
    assert (run / "vocab.txt").read_text() == "new"
    assert not (run / "tokenizer_config.json").exists()
    assert (run / "notes.md").read_text() == "old"  # the user's own
    assert not events & {file.name for file in (run / "tensorboard").rglob("events*")}
    assert [line["step"] for line in toys.log(run)] == [1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize("place", ["checkpoints/5", "damaged/5", "vqvae/checkpoints/5"])
def test_a_run_with_a_checkpoint_is_kept(place: str, run: Path) -> None:
    """Its own, a damaged one, or one of a run within it."""
    (run / "checkpoints" / "5").rename(run / "5")
    (run / place).parent.mkdir(parents=True, exist_ok=True)
    (run / "5").rename(run / place)
    if "vqvae" in place:
        shutil.copy(run / "config.json", run / "vqvae")
    before = contents(run)
    with pytest.raises(
        UserError, match=r"another configuration; nothing was touched.*\(old -> new\): seed: 0 -> 1\."
    ):
        toys.train(toys.experiment(steps=5), run, NEW)
    assert contents(run) == before


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "x"},
        {"metrics.jsonl": "x"},
        {"config.json": '{"model_type": "gpt2"}', "tokenizer.json": "x", "model.safetensors": "x"},
    ],
    ids=["other files", "no config.json", "imported weights"],
)
def test_a_folder_of_something_else_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(UserError, match="not empty and not a run folder"):
        toys.train(toys.experiment(), tmp_path, NEW)
    assert contents(tmp_path) == before


def test_checkpoints_without_the_identity_of_their_data_are_refused(run: Path) -> None:
    (run / "data.json").unlink()
    before = contents(run)
    with pytest.raises(UserError, match=r"has checkpoints but no data\.json"):
        toys.train(toys.experiment(steps=5), run, OLD)
    assert contents(run) == before


@pytest.mark.parametrize(
    "content",
    ["[]", '{"corpus": 1}', '{"preprocessing": "x"}', '{"preprocessing": {"x": 1}}', '{"x": {"y": "z"}}'],
)
def test_a_damaged_data_file_is_named(content: str, run: Path) -> None:
    (run / "data.json").write_text(content)
    with pytest.raises(UserError, match=f"^{run}/data.json: "):
        toys.train(toys.experiment(steps=5), run, OLD)


@pytest.mark.parametrize("link", ["config.json", "metrics.jsonl", "plots/loss.png", "tensorboard", ".lock"])
def test_links_out_of_the_folder_are_refused(link: str, run: Path, tmp_path: Path) -> None:
    place = run / link
    outside = tmp_path / "outside"
    if place.is_dir():
        shutil.move(place, outside)
    else:
        outside.write_bytes(place.read_bytes() if place.exists() else b"precious")
        place.unlink(missing_ok=True)
    place.symlink_to(outside)
    before = contents(tmp_path)
    with pytest.raises(
        UserError, match=r"is a link to .*, which is outside of this folder|cannot be written"
    ):
        toys.train(toys.experiment(steps=5), run, OLD)
    assert contents(tmp_path) == before


def test_what_else_a_link_may_be(run: Path) -> None:
    folder = epath.Path(run)
    (run / "newest").symlink_to("checkpoints/5")
    run_folder.refuse_links(folder)
    (run / "checkpoints" / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="checkpoints/loop is a link to loop, which is outside"):
        run_folder.refuse_links(folder)
    (run / "checkpoints" / "loop").unlink()
    os.mkfifo(run / "plots" / "waits")
    with pytest.raises(UserError, match="plots/waits is neither a file nor a folder"):
        run_folder.refuse_links(folder)


def test_drafts_are_removed_and_links_of_their_names_are_not_written_through(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("x")
    with files.whole(epath.Path(run / "plots" / "loss.png")) as draft:
        name = draft.name
        draft.write_bytes(b"")
    for place in (run / f".config.json.{'0' * 32}", run / "plots" / name):
        place.write_text("half")
    (run / f".draft.{'0' * 32}").mkdir()
    assert toys.train(toys.experiment(steps=5), run, OLD) == 0
    assert [path for path in run.rglob("*") if files.is_draft(epath.Path(path))] == []


def fail_at(call: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lets a write of a file fail as on a full disk; returns the names of the files that are written."""
    written = []

    def failing(write: Callable) -> Callable:
        def failing_write(self: epath.Path, *arguments: object) -> object:
            written.append(self.name)
            if len(written) > call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(self, *arguments)

        return failing_write

    local = type(epath.Path("."))
    monkeypatch.setattr(local, "write_bytes", failing(local.write_bytes))
    monkeypatch.setattr(local, "replace", failing(local.replace))
    return written


def test_a_full_disk_at_any_file_of_the_start_loses_nothing(finished: Path, tmp_path: Path) -> None:
    """Each file in turn is the first that is not written, or not renamed; then there is room again."""
    told = []
    for call in range(100):
        folder = tmp_path / str(call)
        with pytest.MonkeyPatch.context() as patch:
            fail_at(call, patch)
            try:
                toys.train(writing_tokenizer("new"), folder, OLD)
                break
            except UserError as error:
                told.append(str(error).replace(str(folder), "run"))
        if call % 4 == 0:
            assert toys.train(writing_tokenizer("new"), folder, OLD) == 0
            assert toys.log(folder) == toys.log(finished)
            assert (folder / "vocab.txt").read_text() == "new"
    assert len(told) >= 10
    for message in told:
        assert re.match(r"run\S* cannot be written \(No space left on device\)", message)
        assert not re.search(r"\.[0-9a-f]{32}", message)  # the user need not know of drafts
