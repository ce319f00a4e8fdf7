"""A run that is killed, at any moment, and started again has the log and the samples of a run that was not.

Its checkpoints give its curves again.
"""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from tests import processes
from tests.cases import CASES


def samples(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "samples").glob("*")}


# `minimal` is killed in tests/gcs/test_killed.py.
@pytest.mark.parametrize("name", [name for name in CASES if name != "minimal"])
def test_killed_runs_continue_bit_for_bit(name: str, tmp_path: Path) -> None:
    """kill -9 at random steps and in the middle of a save, then SIGTERM; each time the same command again.

    The undisturbed run compiles its programs itself, the others share theirs.
    """
    case = CASES[name]
    arguments, folder = case.arguments(tmp_path), tmp_path / "killed"
    code, out, err = processes.run(case.module, arguments, tmp_path / "undisturbed", cache=False)
    assert (code, err) == (0, ""), out
    wanted = processes.log(tmp_path / "undisturbed")
    assert [line["step"] for line in wanted if "split" not in line] == list(range(1, case.steps + 1))
    assert wanted[-1]["split"] == "heldout"

    def start():
        return processes.start(case.module, arguments, folder)

    # In order and in the first half, so that there is always something left to interrupt.
    chance = random.Random(name)
    for step in sorted(chance.sample(range(1, case.steps // 2), case.kills)):
        process = start()
        processes.wait_until(process, lambda step=step: processes.last_step(folder / case.stage) >= step)
        process.kill()
        assert processes.finish(process)[0] == -signal.SIGKILL

    process = start()
    interrupted = processes.kill_while_saving(process, folder)
    seen = max(case.steps // 2, processes.last_step(folder))

    # A step beyond those in the log is one of this process, which by then hears signals.
    process = start()
    processes.wait_until(process, lambda: processes.last_step(folder) > seen)
    asked = time.monotonic()
    process.terminate()
    code, out, err = processes.finish(process)
    assert (code, err) == (128 + signal.SIGTERM, ""), out
    assert time.monotonic() - asked < 30
    assert f"continuing at step {interrupted} " not in out
    stopped = int(out.split("stopped and saved at step ")[1].split(";")[0])
    # An evaluation that was due at this very step is left for later.
    done = [line for line in wanted if line["step"] <= stopped]
    assert processes.log(folder) in (
        done,
        [li for li in done if (li["step"], "split" in li) != (stopped, True)],
    )

    code, out, err = processes.finish(start())
    assert (code, err) == (0, "")
    assert f"continuing at step {stopped} " in out
    assert processes.log(folder) == wanted
    assert samples(folder) == samples(tmp_path / "undisturbed")
    assert processes.log(folder / case.stage) == processes.log(tmp_path / "undisturbed" / case.stage)
    assert not list((folder / "checkpoints").glob("*tmp*"))

    if "--train.best_metric" in arguments:
        undisturbed, killed = (
            sorted(os.listdir(run / "checkpoints")) for run in (tmp_path / "undisturbed", folder)
        )
        assert len(undisturbed) == 2  # the best one and the last one
        assert killed == undisturbed

    code, out, err = processes.run("ssl_jax.replay", [folder])
    assert (code, err) == (0, ""), out
    evaluations = [line for line in wanted if "split" in line]
    equal, of = re.search(r"(\d+) of (\d+) metrics equal", out).groups()
    assert equal == of
    assert int(of) >= len(evaluations)
