"""Hosts that fail, that are lost, that are asked to stop, and that take long: no other one waits for ever.

Two processes over loopback. Each ends soon after the disturbance, with the same code and the cause.
"""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import processes
from tests.multiprocess.slow_run import VARIABLE

LIMIT = 20.0
"""Seconds after a disturbance."""
NAME = socket.gethostname()


class Pair:
    """The processes of a run, and the files that they leave when they reach a place."""

    def __init__(
        self,
        folder: Path,
        *arguments: object,
        numbers: Sequence[int] = (0, 1),
        count: int = 2,
        **disturbance: object,
    ) -> None:
        self.folder, self.marks = folder / "run", folder / "marks"
        self.marks.mkdir(exist_ok=True)
        address = f"localhost:{processes.free_port()}"
        self.processes = [
            processes.start(
                "tests.multiprocess.slow_run",
                [*arguments, "--hosts", f"{address},{number},{count}"],
                self.folder,
                variables={VARIABLE: json.dumps({"marks": str(self.marks), **disturbance})},
            )
            for number in numbers
        ]

    def reach(self, mark: str) -> None:
        """Returns when the run has come to a place."""
        deadline = time.monotonic() + processes.PATIENCE
        while not (self.marks / mark).exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def ends(self, limit: float = processes.PATIENCE) -> list[tuple[int, str, str]]:
        """(exit code, stdout, stderr) of each process. They have to end within so many seconds."""
        deadline = time.monotonic() + limit
        try:
            for process in self.processes:
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            pass
        late = [process.poll() is None for process in self.processes]
        for process in self.processes:
            process.kill()
        ends = [processes.finish(process) for process in self.processes]
        assert not any(late), ends
        return ends


def check_continued(folder: Path, step: int) -> None:
    """Continues a run in one process. Its log must then be that of a run which was not disturbed."""
    pair = Pair(folder, numbers=[0], count=1)
    ends = pair.ends()
    assert codes(ends) == [0], ends
    assert f"continuing at step {step} of 40" in ends[0][1]
    lines = [(line["step"], line.get("split", "")) for line in processes.log(pair.folder)]
    assert sorted(lines) == sorted([(n, "") for n in range(1, 41)] + [(20, "heldout"), (40, "heldout")])


def codes(ends: list[tuple[int, str, str]]) -> list[int]:
    return [code for code, _, _ in ends]


@pytest.mark.parametrize("host", [0, 1])
@pytest.mark.parametrize(
    ("failure", "code", "cause"),
    [
        ("disk", 2, "/cache: Permission denied. Give permission or room, and run the same command again."),
        ("mistake", 2, "corpus.txt: no such file."),
        ("fault", 1, "ValueError: a bug in the data"),
    ],
)
def test_one_host_fails(failure: str, code: int, cause: str, host: int, tmp_path: Path) -> None:
    """The other one names it and its reason, in one paragraph."""
    if host == 0 and failure == "mistake":
        pytest.skip("the same as a disk that fails")
    pair = Pair(tmp_path, failing_host=host, failure=failure)
    pair.reach("failure")
    ends = pair.ends(LIMIT)
    assert codes(ends) == [code, code], ends
    assert cause in ends[host][2]
    assert f"error: host {host} ({NAME}): " in ends[1 - host][2]
    assert cause in ends[1 - host][2]
    assert "Traceback" not in ends[1 - host][2]
    assert ("Traceback" in ends[host][2]) == (failure == "fault")


@pytest.mark.parametrize("host", [0, 1])
def test_one_host_is_killed_in_the_middle_of_a_save(host: int, tmp_path: Path) -> None:
    """Also the one at which they have met. The same command continues from the checkpoint before."""
    pair = Pair(tmp_path, row=0.002)
    checkpoints = pair.folder / "checkpoints"
    processes.wait_until(pair.processes[0], (checkpoints / "10").exists)
    victim = pair.processes[host]
    processes.wait_until(victim, lambda: bool(list(checkpoints.glob("20.*tmp"))))
    victim.send_signal(signal.SIGSTOP)  # holds it there, so that what is seen is what is killed
    assert list(checkpoints.glob("20.*tmp"))
    victim.kill()
    ends = pair.ends(LIMIT)
    assert ends[1 - host][0] == 2, ends
    assert f"error: host {host} ({NAME}): it ended without a word" in ends[1 - host][2]
    assert "Check failure stack trace" not in ends[1 - host][2]
    assert not (checkpoints / "20").exists()
    if host == 0:
        check_continued(tmp_path, step=10)


@pytest.mark.parametrize("host", [0, 1])
def test_a_host_that_never_starts_is_named(host: int, tmp_path: Path) -> None:
    (end,) = Pair(tmp_path, "--timeouts.start", 2, numbers=[1 - host]).ends()
    assert end[0] == 2, end
    if host == 0:
        assert "host 1 of 2: waiting for host 0 to start at localhost:" in end[1]
        assert "host 0 did not answer at localhost:" in end[2]
    else:
        assert "host 0 of 2: waiting for all 2 hosts to start" in end[1]
        assert "host 1 of 2 did not start within 2 seconds" in end[2]


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("place", "slow"),
    [
        ("training", {"row": 0.005}),
        ("evaluation", {"heldout_row": 0.1}),
        ("report", {"report": 60.0}),
    ],
)
def test_a_signal_to_one_host_stops_all(
    place: str, slow: dict[str, float], number: int, tmp_path: Path
) -> None:
    """At the same place, saved."""
    pair = Pair(tmp_path, **slow)
    pair.reach(place)
    if place == "training":
        processes.wait_until(pair.processes[0], lambda: processes.last_step(pair.folder) >= 2)
    pair.processes[number == signal.SIGTERM].send_signal(number)
    ends = pair.ends(LIMIT)
    assert codes(ends) == [128 + number] * 2, ends
    said = ends[0][1] + ends[0][2]
    if place == "report":
        assert f"ended by {number.name}" in said
    else:
        stopped = int(said.split("stopped and saved at step ")[1].split(";")[0])
        assert stopped == 20 if place == "evaluation" else 2 <= stopped < 20
    if number == signal.SIGTERM and place != "report":
        check_continued(tmp_path, stopped)


def test_hosts_wait_for_a_long_report_and_no_longer_than_they_are_told(tmp_path: Path) -> None:
    """JAX itself would end the others after its own time for leaving; here that is the time for failures."""
    ends = Pair(tmp_path, "--timeouts.failure", 2, report=4.0).ends()
    assert codes(ends) == [0, 0], ends
    ends = Pair(tmp_path, "--timeouts.failure", 2, "--timeouts.end", 1, report=9.0).ends()
    assert codes(ends) == [2, 2], ends
    assert f"host 0 ({NAME}) did not finish within 1 seconds after this host" in ends[1][2]


def test_numbers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    ends = Pair(tmp_path, "--timeouts.start", 3, numbers=[0, 0]).ends()
    assert codes(ends) == [2, 2]
    assert any("this machine cannot listen there (" in err for _, _, err in ends), ends
    assert os.listdir(tmp_path) == ["marks"]
