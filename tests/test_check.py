"""The command that checks the machines before a run."""

import dataclasses
import os
import threading
from pathlib import Path

import jax
import pytest
from etils import epath

from ssl_jax import check
from ssl_jax.errors import UserError
from tests import processes


def test_one_machine_is_described(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert check.main(["--workdir", str(tmp_path / "runs")]) == 0
    out = capsys.readouterr().out
    assert f"host 0: {os.uname().nodename}: 8 x cpu; " in out
    assert "together: 8 devices on 1 host\n" in out
    assert f"jax {jax.__version__}" in out
    assert f"{tmp_path / 'runs'}: every host can write and read it" in out
    assert "all devices added a number each in" in out
    assert list((tmp_path / "runs").iterdir()) == []


def test_two_hosts_are_described_by_the_first() -> None:
    address = f"localhost:{processes.free_port()}"
    pair = [
        processes.start(
            "ssl_jax.check", ["--workdir", "/tmp", "--hosts", f"{address},{i},2"], None, devices=2
        )
        for i in range(2)
    ]
    (code, out, err), (other_code, other_out, _) = [processes.finish(process) for process in pair]
    assert (code, other_code) == (0, 0), err
    assert "together: 4 devices on 2 hosts\n" in out
    assert "host 1: " in out
    assert "host" not in other_out


def test_a_work_directory_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(UserError, match="/proc/runs cannot be written"):
        check.main(["--workdir", "/proc/runs"])


def test_a_disk_that_reads_back_something_else_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(epath.gpath.PosixGPath, "read_bytes", lambda self: b"something else")
    with pytest.raises(UserError, match="a file reads back differently"):
        check.check_folder(epath.Path(tmp_path))


def test_versions_that_differ_are_named() -> None:
    here = check.this_machine()
    other = {**here, "name": "tpu-1", "versions": {**here["versions"], "jax": "0.1"}}
    check.check_versions([here, here])
    with pytest.raises(UserError, match=rf"host 1 \(tpu-1\) has jax 0.1, host 0 has {jax.__version__}"):
        check.check_versions([here, other])


def test_devices_that_do_not_answer_are_not_waited_for(monkeypatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(check, "_timed_sum", never.wait)
    with pytest.raises(UserError, match="the 8 devices did not add a number each"):
        check.check_devices(0.05)
    never.set()


def test_the_arrangement_of_a_slice_is_its_largest_coordinates(monkeypatch) -> None:
    @dataclasses.dataclass
    class Device:
        coords: tuple[int, int, int]

    slice_ = [Device((x, y, 0)) for x in range(4) for y in range(2)]
    monkeypatch.setattr(jax, "devices", lambda: slice_)
    assert check.topology() == "8 devices (4x2x1) on 1 host"
