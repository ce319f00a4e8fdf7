"""One process at a time in a run folder on Google Cloud Storage, which has no locks: a lease.

The holder writes an object and rewrites it on a clock, each time on condition that nobody else has. A lease that is not
rewritten any more is taken over. Only the time that passes here counts, so that no two clocks are compared.
"""

import contextlib
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NoReturn, TypedDict

from etils import epath

from ssl_jax import bucket
from ssl_jax.errors import UserError
from ssl_jax.files import check_json, writing

RENEWED_EVERY = 15.0
"""Seconds between two renewals."""
STALE_AFTER = 60.0
"""Seconds without a renewal after which a lease is taken over."""
LOOKED_EVERY = 2.0
"""Seconds between two looks at a lease of another process."""


class Holder(TypedDict):
    """The content of the object.

    Attributes:
      host: name of the machine.
      process: number of the process there.
      started: when the lease was taken.
      identity: of the process, by which another one on the same machine sees whether it has ended.
      lease: different for each lease.
    """

    host: str
    process: int
    started: str
    identity: list[str]
    lease: str


class Lease:
    """A lease that this process holds. It is renewed in a thread until it is released."""

    def __init__(
        self, path: epath.Path, holder: Holder, generation: int, on_loss: Callable[[], None]
    ) -> None:
        self._path, self._holder, self._generation, self._on_loss = path, holder, generation, on_loss
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while not self._released.wait(RENEWED_EVERY):
            try:
                self._generation = bucket.write(str(self._path), _content(self._holder), self._generation)
            except FileExistsError:
                # Either another process has it, or a request was repeated after its answer was lost.
                if not self._is_ours():
                    self._on_loss()
                    return
            except OSError:  # the next renewal tells whether the lease was lost meanwhile
                continue

    def _is_ours(self) -> bool:
        try:
            generation, holder = _look(self._path)
        except (FileNotFoundError, UserError):
            return False
        except OSError:
            return True  # not known: the next renewal tells
        if holder["lease"] != self._holder["lease"]:
            return False
        self._generation = generation
        return True

    def release(self) -> None:
        """Gives the lease back."""
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError):  # it was lost, or becomes stale
            bucket.delete(str(self._path), self._generation)


@contextlib.contextmanager
def leased(path: epath.Path, log: Callable[[str], None]) -> Iterator[None]:
    """Holds a lease while the block runs. A process that loses it ends at once, since it must not write any more.

    Args:
      path: of the object, in the folder that is held.
      log: prints a line, where this process waits for an old lease to become stale.

    Raises:
      UserError: another process holds the lease, or the folder cannot be written.
    """
    lease = take(path, log, lambda: _end(path))
    try:
        yield
    finally:
        lease.release()


def take(path: epath.Path, log: Callable[[str], None], on_loss: Callable[[], None]) -> Lease:
    """Takes a lease. For arguments and errors see `leased`; `on_loss` is called in a thread when it is lost."""
    host, process, started = socket.gethostname(), os.getpid(), datetime.now().astimezone()
    ours = Holder(
        host=host,
        process=process,
        started=started.isoformat(timespec="seconds"),
        identity=_identity(process),
        lease=uuid.uuid4().hex,
    )
    with writing(path.parent):
        generation = _wait_for(path, ours, log)
    return Lease(path, ours, generation, on_loss)


def _wait_for(path: epath.Path, ours: Holder, log: Callable[[str], None]) -> int:
    """Writes the object as soon as nobody holds the lease. Returns its generation."""
    seen, stale_at = bucket.ABSENT, 0.0
    while True:
        try:
            generation, holder = _look(path)
        except FileNotFoundError:
            generation, holder = bucket.ABSENT, None
        if holder and holder["lease"] == ours["lease"]:  # the request was repeated after its answer was lost
            return generation
        ended = True if holder is None else _has_ended(holder)
        renewed = seen not in (bucket.ABSENT, generation)
        if ended is False or (ended is None and renewed):
            raise UserError(
                f"{path.parent} is in use by process {holder['process']} on {holder['host']}, which started at "
                f"{holder['started']}. Two runs in one folder would mix their logs and checkpoints: wait until that "
                "one has ended, or end it, or choose another --workdir."
            )
        if ended or time.monotonic() > stale_at > 0:
            try:
                return bucket.write(str(path), _content(ours), generation)
            except FileExistsError:  # another process was faster
                continue
        if seen == bucket.ABSENT:
            seen, stale_at = generation, time.monotonic() + STALE_AFTER
            log(
                f"{path.parent}: process {holder['process']} on {holder['host']} was in this folder and may have been "
                f"killed; waiting {STALE_AFTER:.0f} s for a sign of it"
            )
        time.sleep(LOOKED_EVERY)


def _look(path: epath.Path) -> tuple[int, Holder]:
    """(generation, holder) of the object. FileNotFoundError if there is none; UserError if it is something else."""
    generation = int(bucket.describe(str(path))["generation"])
    try:
        return generation, check_json(json.loads(bucket.read(str(path))), Holder, path)
    except ValueError:
        raise UserError(f"{path}: not the lease of a run; remove it.") from None


def _content(holder: Holder) -> bytes:
    return json.dumps(holder).encode()


def _identity(process: int) -> list[str]:
    """What no other process has: this start of the machine, the container, the number and the start of the process.

    Empty if there is no such process, or if the system does not tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        container = os.readlink("/proc/self/ns/pid")
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
    return [] if state == "Z" else [boot, container, str(process), fields[18]]


def _has_ended(holder: Holder) -> bool | None:
    """Whether the process of a lease has ended; None if it was on another machine, so that nothing here tells."""
    theirs = holder["identity"]
    if not theirs or theirs[:2] != _identity(os.getpid())[:2]:
        return None
    return _identity(holder["process"]) != theirs


def _end(path: epath.Path) -> NoReturn:
    """Ends the process from within a thread. Whatever it is doing, it must not go on to write."""
    print(
        f"error: {path.parent}: another process has taken over this folder, because this one gave no sign for more "
        f"than {STALE_AFTER:.0f} s; it ends here and leaves the folder to the other.",
        file=sys.stderr,
        flush=True,
    )
    os._exit(2)
