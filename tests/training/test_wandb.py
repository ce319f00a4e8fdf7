"""Weights & Biases by its own interface, with the package replaced by one that records the calls."""

import sys
from types import SimpleNamespace

import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training.wandb import Wandb
from tests.training import toys


class Recorder:
    """As much of the package wandb as is used."""

    def __init__(self):
        self.started, self.logged, self.ended = [], [], 0
        self.Image = self.Html = lambda content: content

    def init(self, **how):
        self.started.append(how)
        return SimpleNamespace(
            log=self.logged.append, finish=self.finish, define_metric=lambda *names, **how: None
        )

    def finish(self):
        self.ended += 1


def make(folder, settings):
    return Wandb("project", folder, settings)


def test_a_run_is_shown_and_continued(tmp_path, monkeypatch):
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "wandb", recorder)
    for _ in range(2):
        toys.train(toys.experiment(), tmp_path, {"seed": 3}, trackers=[make])
    first, second = recorder.started
    assert first == second
    assert (first["project"], first["name"], first["resume"]) == ("project", tmp_path.name, "allow")
    assert first["config"] == {"seed": 3}
    lines = [line for line in recorder.logged if "train/loss" in line]
    assert [line["step"] for line in lines] == [
        line["step"] for line in toys.log(tmp_path) if "split" not in line
    ]
    assert any("heldout/error" in line for line in recorder.logged)
    assert any(hasattr(line.get("plots/error"), "size") for line in recorder.logged)
    assert recorder.ended == 2


def test_what_prevents_it_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"--wandb project: .* cannot be imported .* pip install wandb"):
        make(epath.Path(tmp_path), {})

    def refuse(**how):
        raise RuntimeError("no account")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=refuse))
    with pytest.raises(UserError, match="--wandb project: no account"):
        make(epath.Path(tmp_path), {})
