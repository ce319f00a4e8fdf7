"""Long calls into libraries: a signal ends them at once, and what they return or raise arrives."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_jax.interruptible import LeftAloneError, interruptibly, work_goes_on
from tests import processes


@pytest.fixture
def endless() -> Iterator[threading.Event]:
    """Work that ends when the event is set, at the latest at the end of the test."""
    event = threading.Event()
    yield event
    event.set()
    while work_goes_on():
        time.sleep(0.01)


def test_results_and_errors_arrive() -> None:
    assert interruptibly(lambda: 3) == 3
    with pytest.raises(KeyError, match="x"):
        interruptibly(lambda: {}["x"])
    assert not work_goes_on()


def test_a_handler_that_raises_is_heard_at_once(endless: threading.Event, default_signals: None) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        interruptibly(endless.wait)
    assert time.monotonic() - started < 2
    assert work_goes_on()


def test_work_is_left_alone_when_it_is_asked_for(endless: threading.Event) -> None:
    answers = iter([False, True])
    with pytest.raises(LeftAloneError):
        interruptibly(endless.wait, lambda: next(answers))
    assert work_goes_on()


def test_work_that_was_left_alone_does_not_keep_the_process() -> None:
    code = (
        "import ctypes, os, signal, sys, threading\n"
        "from ssl_jax.guard import guarded\n"
        "from ssl_jax.interruptible import interruptibly\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        # Holds the lock of the interpreter, which could not end in good order.
        "sys.exit(guarded(lambda: interruptibly(lambda: ctypes.CDLL(None).sleep(60))))\n"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=processes.environment(),
        cwd=processes.ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (130, "ended by SIGINT; the same command continues a run\n")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("module", ["experiments.minimal", "ssl_jax.replay"])
def test_ctrl_c_while_a_command_is_imported_is_told_in_a_line(module: str, default_signals: None) -> None:
    process = processes.start(module, [], None)
    processes.wait_until(process, lambda: b"/jaxlib/" in Path(f"/proc/{process.pid}/maps").read_bytes())
    process.send_signal(signal.SIGINT)
    assert processes.finish(process) == (-signal.SIGINT, "", "ended by SIGINT\n")


def test_ctrl_c_in_the_program_of_a_user_is_left_to_it(tmp_path: Path, default_signals: None) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").write_text("import ssl_jax\n")
    (tmp_path / "theirs" / "__main__.py").write_text(
        "import signal\nprint(signal.getsignal(signal.SIGINT).__name__)\n"
    )
    environment = processes.environment()
    environment["PYTHONPATH"] += f":{tmp_path}"
    command = [sys.executable, "-m", "theirs"]
    assert subprocess.check_output(command, env=environment, text=True) == "default_int_handler\n"
