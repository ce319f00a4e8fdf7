"""Experiments as users run them: real processes, a clean environment, real signals."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PATIENCE = 240.0
"""Seconds after which a process counts as hanging; far more than any needs."""


def xla_flags(devices: int) -> str:
    """So many CPU devices; and a third of the compiler's time, which is most of the suite's, for slower code.

    Programs are not split for threads of the compiler: two processes of tests already use both cores.
    """
    return (
        f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
        " --xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false"
        " --xla_cpu_parallel_codegen_split_count=1"
    )


CACHE = "JAX_COMPILATION_CACHE_DIR"
"""The folder of compiled programs that all processes of one run of the suite share."""
CACHED_FROM = 0.1
"""Seconds that a program must have taken the compiler."""


def environment(devices: int = 1, *, cache: bool = True) -> dict[str, str]:
    """The caller's environment without what the tests have set for themselves, but for the cache.

    Several devices have none (see `tests/compiled_programs.py`).
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "JAX_"))}
    own = {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""}
    if not cache or devices > 1:
        own["JAX_ENABLE_COMPILATION_CACHE"] = "false"
    elif CACHE in os.environ:
        own |= {CACHE: os.environ[CACHE], "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(CACHED_FROM)}
    return inherited | own | {"XLA_FLAGS": xla_flags(devices)}


def start(
    module: str,
    arguments: Sequence[object],
    folder: Path | None,
    *,
    devices: int = 1,
    cache: bool = True,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen:
    """`python -m module arguments --workdir folder`, in the background; a tool has no such folder."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    command += ["--workdir", str(folder)] if folder else []
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command,
        env=environment(devices, cache=cache) | (variables or {}),
        cwd=ROOT,
        stdout=pipe,
        stderr=pipe,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) when it has ended."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    return process.returncode, out, err


def run(
    module: str,
    arguments: Sequence[object],
    folder: Path | None = None,
    *,
    devices: int = 1,
    cache: bool = True,
) -> tuple[int, str, str]:
    """The same in the foreground."""
    return finish(start(module, arguments, folder, devices=devices, cache=cache))


def wait_until(process: subprocess.Popen, condition: Callable[[], bool]) -> None:
    """Returns as soon as the condition holds; fails if the process ends before."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"ended with {process.returncode} before: {process.communicate()}"
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)  # a save takes longer


def kill_while_saving(process: subprocess.Popen, folder: Path, *, after: int = 0) -> int:
    """kill -9 in the middle of a save of a step later than `after`. Returns that step."""

    def unfinished() -> list[Path]:
        drafts = (folder / "checkpoints").glob("*.orbax-checkpoint-tmp")
        return [draft for draft in drafts if int(draft.name.split(".")[0]) > after]

    while True:
        wait_until(process, lambda: bool(unfinished()))
        process.send_signal(signal.SIGSTOP)  # holds it there, so that what is seen is what is killed
        if drafts := unfinished():
            process.kill()
            process.communicate()
            step = int(drafts[0].name.split(".")[0])
            assert drafts[0].exists()
            assert not (folder / "checkpoints" / str(step)).exists()
            return step
        process.send_signal(signal.SIGCONT)


def last_step(folder: Path) -> int:
    """The newest step in the log, 0 if there is none."""
    lines = _complete_lines(folder)
    return json.loads(lines[-1])["step"] if lines else 0


def log(folder: Path) -> list[dict]:
    """The complete lines of metrics.jsonl, without what depends on the clock."""
    lines = map(json.loads, _complete_lines(folder))
    return [{name: value for name, value in line.items() if name != "timing"} for line in lines]


def _complete_lines(folder: Path) -> list[str]:
    file = folder / "metrics.jsonl"
    return file.read_text().split("\n")[:-1] if file.exists() else []


def free_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
