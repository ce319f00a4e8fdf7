"""Curves from checkpoints: the replayed metrics are the logged ones, and a difference is reported."""

import dataclasses
import json
import math
import shutil

import pytest
from etils import epath

from experiments import minimal
from ssl_jax import replay
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training import loop, metrics
from ssl_jax.training.experiment import TrainConfig

BASELINES = {"reconstruction_loss": {"mean image": 0.07}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of minimal with three kept checkpoints."""
    folder = epath.Path(tmp_path_factory.mktemp("replay") / "run")
    rhythm = TrainConfig(batch_size=64, log_every=10, eval_every=20, save_every=20, keep_every=20)
    config = dataclasses.replace(minimal.PRESETS["digits"], steps=60, train=rhythm)
    settings = run_settings("experiments.minimal", "digits", config)
    experiment = minimal.build(config)._replace(report=lambda report: report.baselines.update(BASELINES))
    assert loop.train(experiment, folder, settings) == 0
    return folder


@pytest.fixture
def copy(run, tmp_path):
    """A copy of the run whose log, and whatever else, may be changed."""
    return epath.Path(shutil.copytree(run, tmp_path / "copy"))


def change_log(folder, change):
    """Replaces each line of a log by what `change` makes of it; None leaves it out."""
    lines = map(change, metrics.read(folder))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines if line))


def test_every_kept_checkpoint_gives_the_logged_metrics(run, capsys):
    replayed = replay.replay(open_run(RunReference(run)), print)
    assert [comparison.step for comparison in replayed.comparisons] == [20, 40, 60]
    assert all(comparison.logged == comparison.replayed for comparison in replayed.comparisons)
    assert capsys.readouterr().out.count("(equal)") == 3


def test_curves_of_several_runs_go_into_one_plot(run, tmp_path, capsys):
    assert replay.main([str(run), str(run), "--output", str(tmp_path)]) == 0
    assert "3 of 3 metrics equal" in capsys.readouterr().out
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_the_curves_of_a_run_are_drawn_beside_the_baselines_of_its_report(run, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(replay, "draw_curves", lambda *drawing: drawn.append(drawing) or {})
    other = shutil.copytree(run, tmp_path / "other")
    assert replay.main([str(run)]) == 0
    assert replay.main([str(run), str(other)]) == 0
    (_, _, alone), (_, _, beside) = drawn
    assert (alone, beside) == (BASELINES, {})


@pytest.mark.parametrize(
    ("logged", "shown"), [(0.5, "differs by "), (math.nan, "differs by inf"), (None, "not logged")]
)
def test_a_different_metric_is_reported_and_fails(logged, shown, copy, capsys):
    def change(line):
        if line.get("split") and line["step"] == 40:
            line["reconstruction_loss"] = logged
        return {name: value for name, value in line.items() if value is not None}

    change_log(copy, change)
    assert replay.main([str(copy)]) == 3
    out = capsys.readouterr().out
    assert "2 of 3 metrics equal" in out
    assert shown in out


@pytest.mark.parametrize(
    ("logged", "replayed", "difference"),
    [
        (2.0, 2.0, 0.0),
        (2.0, 2.5, 0.25),
        (0.1, 0.2, pytest.approx(0.1)),
        (math.inf, math.inf, 0.0),
        (math.inf, 1.0, math.inf),
        (math.nan, 1.0, math.inf),
        (1.0, math.nan, math.inf),
        (math.nan, math.nan, math.inf),
        (None, 1.0, math.inf),
        (1.0, None, math.inf),
    ],
)
def test_a_difference_is_relative_and_nan_differs_from_everything(logged, replayed, difference):
    assert replay.Comparison(1, "heldout", "loss", logged, replayed).difference == difference


def test_a_log_that_lacks_evaluations_cannot_be_compared(copy, capsys):
    change_log(copy, lambda line: None if line.get("split") and line["step"] > 20 else line)
    assert replay.main([str(copy)]) == 2
    out = capsys.readouterr().out
    assert (
        "1 of 1 metrics equal those logged at training time; metrics.jsonl lacks the evaluations of step 40 (heldout), "
        "step 60 (heldout), which could not be compared"
    ) in out


def test_a_checkpoint_that_a_run_going_on_removes_is_told(copy):
    opened = open_run(RunReference(copy))
    shutil.rmtree(copy / "checkpoints" / "20")
    with pytest.raises(
        UserError, match="checkpoint 20 was removed while it was read, as a run that is going on"
    ):
        opened.restore(20)


def test_the_other_runs_are_replayed_after_one_that_fails(run, tmp_path, capsys):
    output = tmp_path / "plots"
    assert replay.main([str(tmp_path / "nothing"), str(run), "--output", str(output)]) == 2
    out, err = capsys.readouterr()
    assert "3 of 3 metrics equal" in out
    assert err.startswith(f"error: {tmp_path / 'nothing'}")
    assert (output / "loss.png").exists()


def test_folders_that_cannot_be_replayed_are_explained(run, tmp_path, capsys):
    assert replay.main([str(tmp_path)]) == 2
    assert "not a run folder (it has no config.json)" in capsys.readouterr().err
    shutil.copy(run / "config.json", tmp_path)
    assert replay.main([str(tmp_path)]) == 2
    assert "no complete checkpoint" in capsys.readouterr().err
    with pytest.raises(UserError, match="no run to replay: name one or several run folders"):
        replay.main([])
