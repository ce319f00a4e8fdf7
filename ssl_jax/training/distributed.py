"""Several hosts, one run: joining the others, waiting for them, and stopping when the machine will be preempted."""

import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from ssl_jax.errors import UserError

Result = TypeVar("Result")

LARGEST_COUNT = 2**20
"""Of the processes of a run."""


def on_tpu() -> bool:
    """Whether this machine has a TPU, without initialising it."""
    return any(Path("/dev").glob("accel*")) or any(Path("/dev/vfio").glob("[0-9]*"))


def join(hosts: str) -> None:
    """Starts `jax.distributed`. Must come before any other use of jax devices.

    Args:
      hosts: "auto" joins the pod on a TPU VM and the job under a launcher that jax knows (Slurm, Open MPI with several
        tasks), and is a single process elsewhere; "HOST:PORT,ID,COUNT" gives the address of process 0, this process's
        number and the number of processes.

    Raises:
      UserError: `hosts` has another form, or this pod cannot be joined.
    """
    if hosts != "auto":
        try:
            address, number, count = hosts.split(",")
            host, _, port = address.rpartition(":")
            number, count = int(number), int(count)
            if not (host and 0 < int(port) < 2**16 and 0 <= number < count <= LARGEST_COUNT):
                raise ValueError("out of range")
        except ValueError:
            raise UserError(
                f"--hosts {hosts!r}: expected auto, or HOST:PORT,ID,COUNT such as 10.0.0.1:8476,0,4, where ID is from "
                "0 to COUNT - 1."
            ) from None
        jax.distributed.initialize(address, num_processes=count, process_id=number)
        return
    several_tasks = any(int(os.environ.get(name, 1)) > 1 for name in ("SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE"))
    if several_tasks:
        jax.distributed.initialize()
    elif on_tpu():
        try:
            jax.distributed.initialize()
        except (ValueError, RuntimeError) as error:  # a TPU VM on its own has no cluster to join
            if jax.process_count() > 1:
                raise UserError(
                    f"--hosts auto: this pod could not be joined ({error}); name its hosts with "
                    "--hosts HOST:PORT,ID,COUNT on every worker."
                ) from error


def is_main() -> bool:
    """Whether this process prints and writes the logs."""
    return jax.process_index() == 0


def sync(name: str) -> None:
    """Returns when every process has called it."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def on_main(action: Callable[[], Result]) -> Result | None:
    """What `action` returns on process 0, while the others wait and get None. A UserError there ends all of them."""
    result, mistake = None, None
    if is_main():
        try:
            result = action()
        except UserError as error:
            mistake = error
    if anywhere(mistake is not None):
        raise mistake or UserError("process 0 could not go on; its output says why.")
    return result


def anywhere(here: bool) -> bool:
    """Whether it is true on any process."""
    if jax.process_count() == 1:
        return here
    return bool(multihost_utils.process_allgather(np.bool_(here)).any())


def same_everywhere(content: object) -> bool:
    """Whether every process passed the same JSON-like content."""
    if jax.process_count() == 1:
        return True
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    gathered = multihost_utils.process_allgather(np.frombuffer(digest, np.uint8))
    return bool((gathered == gathered[0]).all())


STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Signals that ask a run to save and stop: a preemption, Ctrl-C, a terminal that is gone, and what a batch system such
as Slurm sends before the time is over."""


class StopRequest:
    """Receives the signals that ask a run to stop, and decides at which step to save and stop.

    SIGHUP stays ignored where it is, as nohup does. On several hosts a signal may reach only one of them; all of them
    are told to stop at the same step.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in STOPPING:
            if number == signal.SIGTERM and jax.process_count() > 1:
                continue  # jax's coordination service listens to it
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._previous[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number
        if jax.process_count() > 1:
            os.kill(os.getpid(), signal.SIGTERM)  # to jax's coordination service, which tells all processes

    @property
    def heard(self) -> bool:
        """Whether this process, alone in its run, has been asked to stop; long work may look here."""
        return self.signal is not None and jax.process_count() == 1

    def due(self, step: int) -> bool:
        """Whether to stop after `step`. Every process asks at every step."""
        if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
            self.signal = self.signal or signal.SIGTERM
            return True
        return self.heard
