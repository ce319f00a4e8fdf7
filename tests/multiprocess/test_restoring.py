"""A restored state is read from storage once by all processes together."""

from pathlib import Path

from tests import processes
from tests.multiprocess.restoring import ROWS, WIDTH


def test_two_processes_read_a_state_once(tmp_path: Path) -> None:
    address = f"localhost:{processes.free_port()}"
    pair = [
        processes.start(
            "tests.multiprocess.restoring", [f"{address},{i},2", tmp_path / "checkpoints"], None, devices=4
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
