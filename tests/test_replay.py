"""Curves from checkpoints: the replayed metrics are the logged ones, and a difference is reported."""

import dataclasses
import json

import pytest
from etils import epath

from experiments import minimal
from ssl_jax import replay
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.training import loop
from ssl_jax.training.experiment import TrainConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of minimal with three kept checkpoints."""
    folder = epath.Path(tmp_path_factory.mktemp("replay") / "run")
    rhythm = TrainConfig(batch_size=64, log_every=10, eval_every=20, save_every=20, keep_every=20)
    config = dataclasses.replace(minimal.PRESETS["digits"], steps=60, train=rhythm)
    settings = run_settings("experiments.minimal", "digits", config)
    assert loop.train(minimal.build(config), folder, settings) == 0
    return folder


def test_every_kept_checkpoint_gives_the_logged_metrics(run, capsys):
    comparisons = replay.replay(open_run(RunReference(run)), print)
    assert [comparison.step for comparison in comparisons] == [20, 40, 60]
    assert all(comparison.logged == comparison.replayed for comparison in comparisons)
    assert capsys.readouterr().out.count("(equal)") == 3


def test_curves_of_several_runs_go_into_one_plot(run, tmp_path, capsys):
    assert replay.main([str(run), str(run), "--output", str(tmp_path)]) == 0
    assert "3 of 3 metrics equal" in capsys.readouterr().out
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_a_different_metric_is_reported_and_fails(run, tmp_path, capsys):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        if line.get("split") and line["step"] == 40:
            line["reconstruction_loss"] += 0.5
    changed = tmp_path / "run"
    changed.mkdir()
    for name in ("config.json", "data.json", "checkpoints"):
        (changed / name).symlink_to(run / name)
    (changed / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert replay.main([str(changed)]) == 1
    out = capsys.readouterr().out
    assert "2 of 3 metrics equal" in out
    assert "differs by 5.0e-01" in out


def test_folders_that_cannot_be_replayed_are_explained(run, tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no config\.json"):
        replay.main([str(tmp_path)])
    (tmp_path / "config.json").symlink_to(run / "config.json")
    with pytest.raises(UserError, match="no complete checkpoint"):
        replay.main([str(tmp_path)])
    with pytest.raises(UserError, match="no run to replay: name one or several run folders"):
        replay.main([])
