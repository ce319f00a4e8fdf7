"""A restored state is read from storage once by all processes together."""

import subprocess
import sys
from pathlib import Path

from tests import processes
from tests.multiprocess.restoring import ROWS, WIDTH


def test_two_processes_read_a_state_once(tmp_path: Path) -> None:
    address = f"localhost:{processes.free_port()}"
    pair = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.multiprocess.restoring",
                f"{address},{i},2",
                str(tmp_path / "checkpoints"),
            ],
            env=processes.environment(4),
            cwd=processes.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    read = []
    for process in pair:
        code, out, err = processes.finish(process)
        assert code == 0, out + err
        read.append(int(out.splitlines()[-1]))
    assert min(read) > 0
    assert sum(read) < 1.1 * 4 * ROWS * WIDTH
