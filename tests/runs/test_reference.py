"""RUN, RUN@STEP and RUN@best: what a user may write, and which checkpoint is meant."""

from pathlib import Path

import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.runs.reference import RunReference, choose_step
from ssl_jax.training.checkpoints import Checkpoints
from tests.training import toys


@pytest.mark.parametrize(
    ("text", "folder", "step"),
    [
        ("runs/x", "runs/x", None),
        ("runs/x@40", "runs/x", 40),
        ("runs/x@best", "runs/x", "best"),
        ("runs/x@home", "runs/x@home", None),
        ("runs/x@home@40", "runs/x@home", 40),
        ("jane@corp/x", "jane@corp/x", None),
        ("jane@2024/x@7", "jane@2024/x", 7),
        ("@40", "@40", None),
        ("runs/x@", "runs/x@", None),
        ("runs/x@-1", "runs/x@-1", None),
        ("runs/x\n@40", "runs/x\n", 40),
        ("gs://bucket/x", "gs://bucket/x", None),
        ("gs://me@corp/x", "gs://me@corp/x", None),
    ],
)
def test_names(
    text: str, folder: str, step: int | str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    reference = RunReference.parse(text)
    assert reference == RunReference(epath.Path(folder), step)
    assert str(reference) == text


def test_an_existing_folder_comes_first(tmp_path: Path) -> None:
    (tmp_path / "x@40").mkdir()
    assert RunReference.parse(f"{tmp_path}/x@40") == RunReference(epath.Path(tmp_path / "x@40"))
    assert RunReference.parse(f"{tmp_path}/x@40@5") == RunReference(epath.Path(tmp_path / "x@40"), 5)


def test_the_home_folder_is_written_as_a_tilde(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert RunReference.parse("~/x@40") == RunReference(epath.Path(tmp_path / "x"), 40)
    (tmp_path / "x@40").mkdir()
    assert RunReference.parse("~/x@40") == RunReference(epath.Path(tmp_path / "x@40"))


def test_buckets_are_asked_like_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"gs://bucket/x@40"}
    monkeypatch.setattr(epath.gpath._GPath, "exists", lambda self: str(self) in there)
    assert RunReference.parse("gs://bucket/x@40") == RunReference(epath.Path("gs://bucket/x@40"))
    assert RunReference.parse("gs://bucket/y@40") == RunReference(epath.Path("gs://bucket/y"), 40)


def test_the_newest_checkpoint_or_the_named_one_or_those_that_there_are(tmp_path: Path) -> None:
    folder = epath.Path(tmp_path / "run")
    toys.train(toys.experiment(steps=10, train={"keep_latest": 9}), folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    assert choose_step(checkpoints, RunReference(folder)) == 10
    assert choose_step(checkpoints, RunReference(folder, 5)) == 5
    with pytest.raises(UserError, match=r"run: has no checkpoint of step 7; there are 5, 10\."):
        choose_step(checkpoints, RunReference(folder, 7))
    with pytest.raises(UserError, match="has no complete checkpoint"):
        choose_step(Checkpoints(epath.Path(tmp_path / "none")), RunReference(epath.Path(tmp_path)))
