"""Model FLOPs utilization in the log, where the peak of the chips is known."""

import json

import jax
import pytest

from ssl_jax.training import loop, utilization
from ssl_jax.training.planning import CHIPS
from tests.training import toys

PEAK = 1e6


@pytest.fixture
def known_chips(monkeypatch):
    """The eight devices are chips of a small peak."""
    chip = CHIPS["TPU v4"]._replace(flops=PEAK)
    monkeypatch.setattr(utilization, "CHIPS", {jax.devices()[0].device_kind: chip})


def timings(folder):
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line["timing"] for line in lines if "timing" in line]


def test_the_log_has_the_share_of_the_peak(tmp_path, known_chips, capsys):
    """Of the product `x @ w`, forward and backward for `w`, and not for `x`."""
    toys.train(toys.experiment(steps=4, train={"log_every": 2}), tmp_path)
    before = 0.0
    for timing in timings(tmp_path):
        seconds, before = timing["seconds"] - before, timing["seconds"]
        operations = 2 * 2 * (2 * 16 * toys.FEATURES**2)
        assert timing["mfu"] == pytest.approx(operations / seconds / (8 * PEAK))
    assert "  MFU " in capsys.readouterr().out


def test_hosts_that_wait_longer_than_others_are_seen(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop, "gather", lambda share: [share, 1.0])
    toys.train(toys.experiment(steps=2), tmp_path)
    for timing in timings(tmp_path):
        assert timing["largest_data_wait"] == 1.0
        assert 0.5 <= timing["data_wait"] < 1.0
    assert "(slowest host 100.0%)" in capsys.readouterr().out
