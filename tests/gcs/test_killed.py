"""Real processes with a run folder on gs://: killed in the middle of a save and at any step, and two at once."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from tests import processes
from tests.bucket import Storage
from tests.cases import length, rhythm

FOLDER, NAME = "gs://bucket/run", "run"
MODULE = "experiments.minimal"
ARGUMENTS = [*length(240, 0), *rhythm(60)]


def start() -> subprocess.Popen:
    return processes.start(MODULE, [*ARGUMENTS, "--workdir", FOLDER], None)


def log(storage: Storage) -> list[dict]:
    lines = map(json.loads, storage.read(f"{NAME}/metrics.jsonl").splitlines())
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]


def steps(storage: Storage) -> set[str]:
    return {name.split("/")[2] for name in storage.names(f"{NAME}/checkpoints/")}


class Held:
    """Holds a process at one of its requests, which the storage does not answer."""

    def __init__(self, storage: Storage, request: str) -> None:
        self._there, self._go = threading.Event(), threading.Event()
        self._request = request
        storage.refuse = self._wait

    def _wait(self, request: str) -> int | None:
        if not request.startswith(self._request) or self._go.is_set():
            return None
        self._there.set()
        self._go.wait()
        return 503

    def kill(self, process: subprocess.Popen) -> None:
        """kill -9 of the process, which is there."""
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        self._go.set()

    def reached(self, process: subprocess.Popen) -> None:
        processes.wait_until(process, self._there.is_set)


def test_a_run_that_is_killed_again_and_again_is_the_same_run(storage: Storage, tmp_path: Path) -> None:
    assert processes.run(MODULE, ARGUMENTS, tmp_path / "local")[0] == 0
    wanted = processes.log(tmp_path / "local")

    first = start()
    held = Held(storage, f"POST {NAME}/checkpoints/120/commit_success.txt")
    held.reached(first)
    code, _, err = processes.finish(start())
    assert code == 2
    assert re.search(f"error: {FOLDER} is in use by process {first.pid} on .*: wait until that one", err)
    held.kill(first)
    assert steps(storage) == {"60", "120"}

    second = start()
    processes.wait_until(second, lambda: f"{NAME}/checkpoints/180/commit_success.txt" in storage.names(NAME))
    time.sleep(0.05)
    os.kill(second.pid, signal.SIGKILL)
    out, _ = second.communicate()
    assert "continuing at step 60 of 240" in out

    code, out, err = processes.finish(start())
    assert code == 0, err
    assert int(re.search("continuing at step ([0-9]+) of 240", out)[1]) in (180, 240)
    assert log(storage) == wanted
    assert steps(storage) == {"60", "120", "180", "240"}
    assert f"{NAME}/.lock" not in storage.names(NAME)

    code, out, err = processes.run("ssl_jax.replay", [FOLDER])
    assert code == 0, err
    equal, of = re.search(r"(\d+) of (\d+) metrics equal", out).groups()
    assert equal == of
