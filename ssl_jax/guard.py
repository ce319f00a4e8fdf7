"""What every command is run in: errors, signals and lost output, told in one paragraph and without a traceback."""

import contextlib
import errno
import gc
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import jax

from ssl_jax.errors import UserError
from ssl_jax.interruptible import work_goes_on
from ssl_jax.output import enduring_output
from ssl_jax.training.distributed import current_hosts
from ssl_jax.training.hosts import HostFailed, Hosts, describe
from ssl_jax.training.stopping import STOPPING

PATIENCE = 5.0
"""Seconds that the threads of libraries have to end after an error."""
CONSEQUENCE = 3.0
"""Seconds after an error of the program in which this host may hear of another's failure, which is then the cause."""
_AGAIN = 0.05
"""Seconds after which a signal is sent again that came where an exception is printed and forgotten."""
ENVIRONMENT = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
}
"""Errors of the system that no change of the program could prevent."""
UNREACHED = {errno.EIO, errno.ESTALE}
"""Those of a disk or of a storage that does not answer."""


def guarded(command: Callable[[], int]) -> int:
    """Runs a command and returns its exit code; all commands pass here.

    A user's mistake, a failure of the environment and a signal end it with one paragraph and no traceback. Lost output
    does not end it. The messages of other libraries are left out, except for errors.

    On several hosts all of them end when one does, and print the first cause. None leaves before all have finished.

    Returns:
      What the command returns; 2 on a user's mistake, and if the machine gives too little memory or no permission;
      128 + the number of the signal that ended it.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs every error that it also raises
    logging.getLogger("jax").setLevel(logging.ERROR)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # warns of a home folder that cannot be written
    warnings.filterwarnings("ignore")
    code: Any = 1
    with enduring_output():
        try:
            with _ended_by_signals():
                _check_jax()
                code = command()
                if hosts := current_hosts():
                    hosts.leave()
        except KeyboardInterrupt as ended:
            number = signal.Signals(*(ended.args or [signal.SIGINT]))
            code = 128 + number
            _tell(f"ended by {number.name}; the same command continues a run", code)
        except (UserError, OSError, MemoryError, RuntimeError) as error:
            if (told := _paragraph(error)) is None:
                _end_others(error)
                raise
            code = 2
            _tell(told, code)
        except SystemExit as exit:
            code = exit.code
            raise
        except Exception as error:
            _end_others(error)
            raise
        finally:
            if code:
                _end_with(code)
    return code


def _tell(message: str, code: int) -> None:
    """Prints why this command ends. On several hosts it ends here, on all of them, with the first cause."""
    hosts = current_hosts()
    if hosts is None:
        print(describe(HostFailed(message, code)), file=sys.stderr)
    else:
        hosts.end(_first_failure(hosts, message, code))


def _end_others(error: Exception) -> None:
    """Ends all hosts for a fault of the program: with a traceback on the host where it came first."""
    hosts = current_hosts()
    if hosts is None:
        return
    text = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    failure = _first_failure(
        hosts, f"{text}; the output of that host has the traceback", code=1, patience=CONSEQUENCE
    )
    if failure.here:
        traceback.print_exception(error)
    hosts.end(failure, told=failure.here)


def _first_failure(hosts: Hosts, text: str, code: int, patience: float = 0.0) -> HostFailed:
    """Announces a failure. Returns the one that came first."""
    while True:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # which also says that another host has failed
            return hosts.fail(text, code, patience)
        except KeyboardInterrupt:
            pass


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Signals that ask a run to stop end what is not a run under way, such as a report, in good order."""

    def end(number: int, frame: FrameType | None) -> None:
        if _is_swallowed(frame):
            again = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        hosts = current_hosts()
        raise (hosts and hosts.failure) or KeyboardInterrupt(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = [number for number in STOPPING if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_swallowed(frame: FrameType | None) -> bool:
    """Whether an exception that is raised at this place would be printed and forgotten.

    So it is in what Python calls when it frees objects: `__del__`, callbacks of weak references and of the collector.
    """
    forgetting = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        code = frame.f_code
        if code in forgetting or code.co_name == "__del__" or code.co_filename == weakref.__file__:
            return True
        frame = frame.f_back
    return False


def _check_jax() -> None:
    """Refuses settings of JAX with which runs do not work."""
    for name, works in (
        ("jax_enable_x64", False),
        ("jax_disable_jit", False),
        ("jax_numpy_dtype_promotion", "standard"),
    ):
        value = getattr(jax.config, name)
        if value != works:
            raise UserError(
                f"{name.upper()} is set to {value}: runs do not work with this setting of JAX, or not as they did "
                f"without it. Unset {name.upper()} and run the same command again."
            )


def _paragraph(error: Exception) -> str | None:
    """What to tell the user of an error; None if it is a fault of this program, which needs a traceback."""
    if isinstance(error, UserError):
        return str(error)
    lower = "Lower --train.batch_size, raise --train.micro_batches, or use more devices (--mesh.fsdp cuts the state)."
    if isinstance(error, MemoryError):
        return f"the memory of this machine is not enough ({str(error) or 'it gave no more'}). {lower}"
    if isinstance(error, OSError):
        if error.errno not in ENVIRONMENT:
            return None
        place = f"{error.filename}: " if error.filename else ""
        cure = (
            "See that the storage is sound and can be reached"
            if error.errno in UNREACHED
            else "Give permission or room"
        )
        return f"{place}{error.strerror}. {cure}, and run the same command again."
    message = (str(error).splitlines() or [""])[0]
    if isinstance(error, jax.errors.JaxRuntimeError) and message.startswith("RESOURCE_EXHAUSTED"):
        return f"the memory of the device is not enough ({message:.200}). {lower}"
    if message.startswith("UNIMPLEMENTED: Unsupported element type for DotThunk"):
        return (
            "XLA cannot compute a product of bfloat16 numbers of this model on a CPU. Leave the dtype at float32, or "
            "set XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= and run the same command again."
        )
    if message.startswith("Unable to initialize backend"):
        return f"JAX finds no device to run on: {message:.300}."
    return None


def _end_with(code: Any) -> None:
    """Sees to it that the process ends with this code, although a library may have left a thread that never ends.

    The interpreter waits for all threads before it ends. This one, which it does not wait for, gives them some seconds.
    Work that a signal has left alone, in a thread of a compiler for example, is not waited for.
    """

    if work_goes_on():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)

    def end() -> None:
        threading.main_thread().join()
        time.sleep(PATIENCE)
        os._exit(code if isinstance(code, int) else 1)

    threading.Thread(target=end, daemon=True).start()
