"""Experiments run in this process, as their commands."""

import runpy
import sys

import pytest


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `python -m experiments.NAME` with arguments; returns (exit code, stdout, stderr)."""

    def command(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.delitem(sys.modules, f"experiments.{name}", raising=False)  # runpy imports it itself
        with pytest.raises(SystemExit) as exit:
            runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
        return (exit.value.code, *capsys.readouterr())

    return command


@pytest.fixture
def refused(command):
    """Runs an experiment that is refused; returns what it says."""

    def refused(name, *arguments):
        code, _, error = command(name, *arguments)
        assert code == 2
        assert "Traceback" not in error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return refused
