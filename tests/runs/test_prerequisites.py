"""Runs that another one begins with: trained first and continued, or named, and checked."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from experiments import minimal
from ssl_jax.errors import UserError
from ssl_jax.runs import named_runs
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.prerequisites import PlannedRun, Prerequisite, train_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training import lock, loop
from tests.training import toys

TRAIN = replace(minimal.Config().train, log_every=1, eval_every=2, save_every=2, keep_latest=9)
PLANNED = PlannedRun("experiments.minimal", "digits", replace(minimal.Config(), steps=4, train=TRAIN))


def log(folder: Path) -> str:
    return (folder / "metrics.jsonl").read_text()


def weights(prerequisite: Prerequisite, folder: Path) -> np.ndarray:
    """Of the run that is taken."""
    run = prerequisite.open(epath.Path(folder))
    return np.asarray(run.restore()["params"]["encoder"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prerequisites") / "run"
    train_run(PLANNED, epath.Path(folder))
    return folder


def test_it_is_trained_first_and_then_left_as_it_is(tmp_path: Path) -> None:
    first = Prerequisite("first", PLANNED)
    assert first.config == PLANNED.config
    found = weights(first, tmp_path)
    before = log(tmp_path / "first")
    np.testing.assert_array_equal(weights(first, tmp_path), found)
    assert log(tmp_path / "first") == before


def test_a_signal_ends_everything_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch, trained: Path
) -> None:
    first, take = Prerequisite("first", PLANNED), loop.Run._take_metrics

    def interrupt(self: loop.Run, bad_step: object) -> None:
        take(self, bad_step)
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "_take_metrics", interrupt)
        with pytest.raises(SystemExit) as exit:
            first.open(epath.Path(tmp_path))
    assert exit.value.code == 128 + signal.SIGTERM
    assert not (tmp_path / "first" / "checkpoints" / "4").exists()
    np.testing.assert_array_equal(
        weights(first, tmp_path), weights(Prerequisite("named", PLANNED, str(trained)), tmp_path)
    )


def test_a_named_run_has_its_own_configuration_and_checkpoint(trained: Path, tmp_path: Path) -> None:
    other = PLANNED._replace(config=minimal.Config(width=5))
    named = Prerequisite("first", other, f"{trained}@2")
    assert named.config == PLANNED.config
    newest = Prerequisite("newest", other, str(trained))
    assert (weights(named, tmp_path) != weights(newest, tmp_path)).any()


def test_a_named_run_is_copied_with_its_one_checkpoint(trained: Path, tmp_path: Path) -> None:
    found = weights(Prerequisite("first", PLANNED, f"{trained}@2"), tmp_path)
    run = open_run(RunReference(epath.Path(trained), 2))
    np.testing.assert_array_equal(run.restore()["params"]["encoder"], found)
    assert [path.name for path in (tmp_path / "first" / "checkpoints").iterdir()] == ["2"]
    assert not (tmp_path / "first" / lock.FILE).exists()


def test_a_copy_that_was_not_finished_is_made_again(trained: Path, tmp_path: Path, monkeypatch) -> None:
    """It has no config.json yet; the files that it has may be incomplete."""
    first, copy = Prerequisite("first", PLANNED, str(trained)), tmp_path / "first"
    with monkeypatch.context() as patch:
        patch.setattr(
            named_runs, "write_whole", lambda file, content: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            first.open(epath.Path(tmp_path))
    assert not (copy / "config.json").exists()
    data = next(
        path for path in copy.glob("checkpoints/4/**/*") if path.is_file() and path.stat().st_size > 100
    )
    data.write_bytes(b"")
    np.testing.assert_array_equal(
        weights(first, tmp_path), weights(Prerequisite("other", PLANNED, str(trained)), tmp_path)
    )


def test_a_full_disk_is_named(trained: Path, tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(named_runs, "_copy", full)
    with pytest.raises(UserError, match=r"first cannot be written \(No space left on device\)"):
        Prerequisite("first", PLANNED, str(trained)).open(epath.Path(tmp_path))


def test_a_named_run_that_cannot_be(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"is a run of experiments\.minimal; expected one of experiments\.vqvae\."
    ):
        _ = Prerequisite("first", PLANNED._replace(module="experiments.vqvae"), str(trained)).config
    with pytest.raises(UserError, match=r"has no checkpoint of step 3; there are 2, 4\."):
        Prerequisite("first", PLANNED, f"{trained}@3").open(epath.Path(tmp_path))
    with pytest.raises(UserError, match="not a run folder"):
        _ = Prerequisite("first", PLANNED, str(tmp_path)).config


def test_without_a_report_a_finished_run_is_left_alone_at_once(
    trained: Path, tmp_path: Path, monkeypatch
) -> None:
    folder = epath.Path(tmp_path / "run")
    train_run(PLANNED, folder, report=False)
    monkeypatch.setattr(minimal, "Digits", lambda **_: pytest.fail("its data is opened"))
    train_run(PLANNED, folder, report=False)
    shorter = PLANNED._replace(config=replace(PLANNED.config, steps=3))
    with pytest.raises(UserError, match=r"another configuration.* steps: 4 -> 3\."):
        train_run(shorter, folder, report=False)


@pytest.mark.parametrize("named", [False, True])
def test_a_run_starts_with_what_it_has_learnt_and_says_from_where(
    named: bool, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = Prerequisite("first", PLANNED, str(trained) if named else "")
    method = toys.noisy_regression()

    def init(rng, batch):
        return {**method.init(rng, batch), "frozen": {"encoder": jnp.zeros((64, 32), jnp.float16)}}

    def loss(params, extras, batch, rng):
        losses, aux = method.loss(params, {"mean": extras["mean"]}, batch, rng)
        return losses, aux._replace(extras={**extras, **aux.extras})

    experiment = toys.experiment(method=method._replace(init=init, loss=loss), steps=5)
    start = first.start(lambda run: {"frozen": {"encoder": run.restore()["params"]["encoder"]}})
    run = loop.Run(experiment._replace(starts=(start,)), epath.Path(tmp_path / "run"), {"config": {}})
    learnt = run.state.extras["frozen"]["encoder"]
    assert learnt.dtype == jnp.float16
    expected = weights(first, tmp_path / "run")
    np.testing.assert_array_equal(learnt, expected.astype(np.float16))
    line = capsys.readouterr().out.splitlines()[0]
    taken = (
        f"{trained}, a run of" if named else "a run of experiments.minimal that is trained first, in first/"
    )
    assert f"{tmp_path / 'run'}: starting from {taken}" in line
    assert run.train() == 0
    np.testing.assert_array_equal(run.state.extras["frozen"]["encoder"], expected.astype(np.float16))
