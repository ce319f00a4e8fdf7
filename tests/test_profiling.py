"""`--profile STEPS`: a trace of the steps asked for, which changes nothing else."""

import dataclasses
import socket
from types import SimpleNamespace

import jax
import pytest
from etils import epath

from experiments import minimal
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import run_settings
from ssl_jax.training import loop, profiling
from ssl_jax.training.experiment import TrainConfig
from tests import processes

RHYTHM = TrainConfig(batch_size=64, log_every=2, eval_every=10, save_every=10)
CONFIG = dataclasses.replace(minimal.PRESETS["digits"], steps=20, train=RHYTHM)
SETTINGS = run_settings("experiments.minimal", "digits", CONFIG)


def train(folder, steps):
    return loop.train(minimal.build(CONFIG), epath.Path(folder), SETTINGS, profile=steps)


def traces(folder):
    """By the folder of the session, the trace of this host."""
    return {
        file.parent.name: jax.profiler.ProfileData.from_file(str(file))
        for file in (folder / "profile" / "plugins" / "profile").glob("*/*.xplane.pb")
    }


def calls(trace, name):
    """How many events of a trace, on any line of it, have this name."""
    return sum(event.name == name for plane in trace.planes for line in plane.lines for event in line.events)


def test_a_trace_has_the_steps_asked_for_and_the_run_is_the_same(tmp_path, capsys):
    assert train(tmp_path / "plain", 0) == 0
    assert "profile" not in capsys.readouterr().out
    assert train(tmp_path / "profiled", 10) == 0
    out = capsys.readouterr().out
    assert (
        f"a profile of steps 4 to 13 is in {tmp_path / 'profiled' / 'profile'}; to look at it: pip install"
        in out
    )

    ((session, data),) = traces(tmp_path / "profiled").items()
    assert session == "steps-4-13"
    assert calls(data, "train") == 10

    assert processes.log(tmp_path / "profiled") == processes.log(tmp_path / "plain")
    assert not (tmp_path / "plain" / "profile").exists()


def test_a_trace_ends_with_the_run(tmp_path):
    assert train(tmp_path, 100) == 0
    assert list(traces(tmp_path)) == ["steps-4-20"]


def test_a_finished_run_has_no_steps_to_trace(tmp_path, capsys):
    assert train(tmp_path, 0) == 0
    assert train(tmp_path, 10) == 0
    assert "--profile 10: no step was traced, as only 0 were left to train" in capsys.readouterr().out
    assert not traces(tmp_path)


def test_a_negative_number_of_steps_is_refused(tmp_path):
    with pytest.raises(UserError, match="--profile -1: expected a number of steps"):
        train(tmp_path / "run", -1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("hosts", "first"), [("aa", [True, False]), ("ab", [True, True]), ("abab", [1, 1, 0, 0])]
)
def test_one_process_of_every_host_writes(hosts, first, monkeypatch):
    meeting = SimpleNamespace(names=list(hosts))
    monkeypatch.setattr(profiling, "current_hosts", lambda: meeting)
    for number, name in enumerate(hosts):
        monkeypatch.setattr(jax, "process_index", lambda number=number: number)
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        assert profiling.first_process_of_host() == first[number]


def test_the_flag_is_no_part_of_the_configuration_of_the_run(tmp_path):
    steps = ["--steps", 20, "--train.log_every", 2, "--train.eval_every", 10]
    code, out, err = processes.run("experiments.minimal", [*steps, "--profile", 5], tmp_path)
    assert (code, err) == (0, "")
    assert f"a profile of steps 4 to 8 is in {tmp_path / 'profile'}" in out
    assert list(traces(tmp_path)) == ["steps-4-8"]
    assert "profile" not in (tmp_path / "config.json").read_text()
    code, out, err = processes.run("experiments.minimal", steps, tmp_path)
    assert (code, err) == (0, "")
    assert "continuing at step 20 of 20" in out
