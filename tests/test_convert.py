"""The command that converts a recording: what it refuses, before and after it opens the run.

What it writes is tested with the experiments, in tests/experiments/whole_runs/test_every_experiment.py.
"""

import io
from types import SimpleNamespace

import pytest

from ssl_jax import convert
from ssl_jax.errors import UserError


def run(*arguments):
    return convert.main(list(map(str, arguments)), io.StringIO())


def test_the_output_is_checked_before_the_run_is_opened(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    for output, message in (
        ("out.mp3", r"OUTPUT .*out\.mp3: expected the name of a \.wav file"),
        ("folder.wav", r"folder\.wav: is a folder"),
        ("source.wav", r"source\.wav: is one of the recordings"),
    ):
        with pytest.raises(UserError, match=message):
            run(tmp_path / "run", tmp_path / "source.wav", tmp_path / "target.wav", tmp_path / output)
    with pytest.raises(UserError, match="run"):
        run(tmp_path / "run", "source.wav", "target.wav", tmp_path / "out.wav")
    assert not (tmp_path / "out.wav").exists()


def test_a_run_that_does_not_convert_is_refused(monkeypatch, tmp_path):
    settings, experiment = {"experiment": "experiments.apc"}, SimpleNamespace(converter=None)
    opened = SimpleNamespace(folder="runs/apc", settings=settings, experiment=experiment)
    monkeypatch.setattr(convert, "open_run", lambda reference, places: opened)
    with pytest.raises(UserError, match=r"runs/apc: a run of experiments\.apc does not convert voices"):
        run("runs/apc", "source.wav", "target.wav", tmp_path / "out.wav")
