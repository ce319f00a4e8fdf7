"""What ends a command: errors told in one paragraph, signals, settings of JAX, and threads that are left."""

import errno
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import pytest

from ssl_jax import guard
from ssl_jax.errors import UserError
from ssl_jax.guard import guarded
from ssl_jax.training.stopping import STOPPING
from tests import processes


def raises(error: BaseException) -> Callable[[], int]:
    def command() -> int:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (UserError("the sky: is falling; hold it up."), "the sky: is falling; hold it up."),
        (
            PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/root/x"),
            "/root/x: Permission denied. Give permission or room, and run the same command again.",
        ),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            "No space left on device. Give permission or room, and run the same command again.",
        ),
        (
            MemoryError(),
            "the memory of this machine is not enough (it gave no more). Lower --train.batch_size",
        ),
        (
            jax.errors.JaxRuntimeError("UNIMPLEMENTED: Unsupported element type for DotThunk::Execute: BF16"),
            "XLA cannot compute a product of bfloat16 numbers of this model on a CPU. Leave the dtype at float32",
        ),
        (
            jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.\nMore"),
            "the memory of the device is not enough (RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.). Lower",
        ),
        (
            RuntimeError("Unable to initialize backend 'gpu': not there\nMore"),
            "JAX finds no device to run on: Unable to initialize backend 'gpu': not there.",
        ),
    ],
)
def test_what_is_no_fault_of_the_program_is_told_in_one_paragraph(
    error: Exception, told: str, capsys: pytest.CaptureFixture
) -> None:
    assert guarded(raises(error)) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {told}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), FileNotFoundError(errno.ENOENT, "x"), jax.errors.JaxRuntimeError("INTERNAL: x")],
)
def test_a_fault_of_the_program_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        guarded(raises(error))


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_ends_what_is_no_run_under_way(number: int, capsys: pytest.CaptureFixture) -> None:
    before = signal.getsignal(number)
    assert guarded(lambda: os.kill(os.getpid(), number)) == 128 + number
    assert signal.getsignal(number) == before
    name = signal.Signals(number).name
    assert capsys.readouterr().err == f"ended by {name}; the same command continues a run\n"


@pytest.mark.usefixtures("default_signals")
def test_a_signal_within_the_garbage_collection_is_not_lost(capsys: pytest.CaptureFixture) -> None:
    """Python prints an exception of a callback of the garbage collector, and forgets it."""
    pending = [signal.SIGTERM]

    def callback(phase: str, info: dict) -> None:
        if pending:
            signal.raise_signal(pending.pop())

    def command() -> int:
        gc.collect()
        time.sleep(20)
        return 0

    gc.callbacks.append(callback)
    try:
        assert guarded(command) == 128 + signal.SIGTERM
    finally:
        gc.callbacks.remove(callback)
    assert not pending
    assert "ended by SIGTERM" in capsys.readouterr().err


def test_an_ignored_signal_stays_ignored() -> None:
    """As `nohup` sets it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert guarded(lambda: os.kill(os.getpid(), signal.SIGHUP) or 0) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("jax_enable_x64", True), ("jax_disable_jit", True), ("jax_numpy_dtype_promotion", "strict")],
)
def test_settings_of_jax_under_which_runs_do_not_work_are_refused(
    setting: str, value: object, capsys: pytest.CaptureFixture
) -> None:
    works = getattr(jax.config, setting)
    jax.config.update(setting, value)
    try:
        assert guarded(lambda: 0) == 2
    finally:
        jax.config.update(setting, works)
    assert f"{setting.upper()} is set to {value}" in capsys.readouterr().err
    assert guarded(lambda: 0) == 0


def test_a_thread_that_never_ends_does_not_keep_a_failed_process() -> None:
    """In a process of its own, which ends with its code and all that it has printed."""
    script = (
        "import sys, threading\n"
        "from ssl_jax import guard\n"
        "from ssl_jax.errors import UserError\n"
        "def fails():\n"
        "    threading.Thread(target=threading.Event().wait).start()\n"
        "    print('started')\n"
        "    raise UserError('it did not work.')\n"
        "guard.PATIENCE = 0.2\n"
        "sys.exit(guard.guarded(fails))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=processes.environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "started\n", "error: it did not work.\n")
    assert guard.PATIENCE <= 10
