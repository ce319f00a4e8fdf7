"""One process at a time in a run folder."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TypedDict

from etils import epath

from ssl_jax.bucket import is_remote
from ssl_jax.errors import UserError
from ssl_jax.files import read_json, writing
from ssl_jax.training.lease import leased

FILE = ".lock"
"""The locked file in a run folder. It says who holds the folder, and is removed when the folder is released."""

PATIENCE = 10.0
"""Seconds within which a network disk shows a new file on all hosts."""
UNSUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
"""Errors of file systems that have no locks."""


class Holder(TypedDict):
    """The content of the locked file."""

    host: str
    process: int
    started: str


@contextlib.contextmanager
def locked(folder: epath.Path, log: Callable[[str], None]) -> Iterator[None]:
    """Holds a run folder while the block runs; the folder is made if it is not there.

    The kernel releases the lock when the process ends, however it ends, so that a killed run can be continued at once.
    Reading a run takes no lock. Object stores (gs://) have none: there, the folder is held by a lease. A folder that
    was made here and is still empty at the end is removed.

    Args:
      folder: of a run or of a study.
      log: prints a line, where the file system has no locks or another run may still hold the folder.

    Raises:
      UserError: another process holds the folder, or the folder cannot be written.
    """
    if is_remote(folder):
        with leased(folder / FILE, log):
            yield
        return
    made = not folder.exists()
    with writing(folder):
        descriptor = _acquire(folder, log)
    try:
        yield
    finally:
        # Removed while it is still locked: a process that has opened it meanwhile sees that it is gone.
        with contextlib.suppress(OSError):
            os.unlink(folder / FILE)
        os.close(descriptor)
        if made:
            with contextlib.suppress(OSError):  # it is not empty
                os.rmdir(folder)


def check_shared(folder: epath.Path) -> None:
    """UserError if this process does not see the folder that process 0 holds. Every process calls it, after that."""
    deadline = time.monotonic() + PATIENCE
    while not (folder / FILE).exists():
        if time.monotonic() > deadline:
            raise UserError(
                f"{folder} of this host is not the folder of host 0; use a --workdir that all hosts share, such as one "
                "on gs:// or on a network disk."
            )
        time.sleep(0.1)


def _acquire(folder: epath.Path, log: Callable[[str], None]) -> int:
    """The descriptor of the locked file."""
    file = folder / FILE
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # a process that has just ended removed the folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise UserError(
                f"{folder} is in use by {_holder(file)}. Two runs in one folder would mix their logs and checkpoints: "
                "wait until that one has ended, or end it, or choose another --workdir."
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                os.close(descriptor)
                raise
            log(f"{folder}: its file system has no locks, so nothing keeps a second run out of this folder")
        if _still_there(descriptor, file):
            _introduce(descriptor)
            return descriptor
        os.close(descriptor)


def _still_there(descriptor: int, file: epath.Path) -> bool:
    """Whether the file of this name is the opened one, and not one that another process made after removing it."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(file))
    except FileNotFoundError:
        return False


def _introduce(descriptor: int) -> None:
    """Writes this process into the file. Without it the lock holds as well, so that a full disk does not matter."""
    started = datetime.now().astimezone().isoformat(timespec="seconds")
    holder = Holder(host=socket.gethostname(), process=os.getpid(), started=started)
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _holder(file: epath.Path) -> str:
    try:
        holder = read_json(file, Holder)
    except UserError:  # it is just being written
        return "another process"
    return f"process {holder['process']} on {holder['host']}, which started at {holder['started']}"
