"""The other hosts of a run: meeting them, waiting for them, stopping with them, and hearing that one has failed.

A host that waits in a collective operation for one that is gone would wait for ever. So each has a connection to the
`coordinator`, and a thread that reads it: when a host fails, the others are told, and end too.
"""

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, NoReturn

import jax
from jax._src import distributed as jax_distributed
from jaxlib import _jax

from ssl_jax.domains import Settings, numbers
from ssl_jax.errors import UserError
from ssl_jax.training.coordinator import JAX_PATIENCE, encode, keep_alive
from ssl_jax.training.stop_place import StopPlace

Seconds = Annotated[float, numbers(1, 1e7)]

SILENCE = 5.0
"""Seconds after which a host says what it waits for at its start."""
GRACE = 5.0
"""Seconds after another host's failure that a process has to end in good order, before it is ended as it is."""


@dataclass(frozen=True)
class Timeouts(Settings):
    """How long the hosts of a run wait for each other."""

    start: Seconds = 300.0
    """Seconds within which all hosts must have started."""
    failure: Seconds = 60.0
    """Seconds within which all hosts end after one of them has failed or is lost."""
    end: Seconds = 86_400.0
    """Seconds that hosts which have finished wait for the others, such as one that makes the report."""


class Membership(NamedTuple):
    """This process among those of a run.

    Attributes:
      address: "HOST:PORT" of the coordinator.
      number: of this process, from 0.
      count: of the processes.
      local_devices: numbers of the accelerators that this process uses; None for all of its machine.
    """

    address: str
    number: int
    count: int
    local_devices: tuple[int, ...] | None = None


class HostFailed(UserError):
    """All hosts end, because one of them has failed or has received a signal.

    Attributes:
      code: exit code of all hosts.
      here: whether it began on this host.
    """

    def __init__(self, message: str, code: int, *, here: bool = False) -> None:
        super().__init__(message)
        self.code, self.here = code, here


class Hosts:
    """The connection of this process to the others of its run."""

    def __init__(self, member: Membership, timeouts: Timeouts) -> None:
        """Connects to nobody yet.

        Args:
          member: this process.
          timeouts: how long to wait for the others.
        """
        self.member, self.timeouts = member, timeouts
        self.failure: HostFailed | None = None
        self._connection: socket.socket | None = None
        self._turn = 0
        self._left = False
        self._answers: dict[str, queue.SimpleQueue[Any]] = {
            kind: queue.SimpleQueue() for kind in ("started", "gathered", "left", "staying")
        }
        self._outgoing: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ending = threading.Lock()
        self.stop_place = StopPlace()
        self.names: list[str] = []

    def meet(self) -> None:
        """Meets the others, and starts JAX on all of them together. Must come before any use of JAX's devices.

        Raises:
          UserError: a host does not start in time (the message names it), or the numbers do not fit together.
        """
        member = self.member
        if member.number == 0:
            _start_coordinator(member, self.timeouts)
        with self._telling(f"host 0 to start at {member.address}"):
            self._connection = self._connect()
        for work in (self._send_all, self._receive_all):
            threading.Thread(target=work, daemon=True, name=work.__name__).start()
        self._send(hello={"number": member.number, "count": member.count, "name": socket.gethostname()})
        with self._telling(f"all {member.count} hosts to start"):
            started = self._answer("started", self.timeouts.start + self.timeouts.failure)
        self.names = started["names"]
        self._start_jax(started["port"])

    @contextlib.contextmanager
    def _telling(self, event: str) -> Iterator[None]:
        """Prints that this host waits for an event, if that takes long."""
        text = f"host {self.member.number} of {self.member.count}: waiting for {event}"
        timer = threading.Timer(min(SILENCE, self.timeouts.start / 2), print, [text], {"flush": True})
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _connect(self) -> socket.socket:
        """The connection to the coordinator, as soon as host 0 has started it."""
        host, _, port = self.member.address.rpartition(":")
        deadline = time.monotonic() + self.timeouts.start
        while True:
            try:
                connection = socket.create_connection((host, int(port)), timeout=self.timeouts.failure)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UserError(
                        f"--hosts: host 0 did not answer at {self.member.address} within {self.timeouts.start:g} "
                        f"seconds ({error.strerror or error}). Start the same command there with the number 0, and "
                        "check the address and the port; --timeouts.start waits longer."
                    ) from None
                time.sleep(0.1)
        connection.settimeout(None)
        keep_alive(connection, self.timeouts.failure)
        return connection

    def _start_jax(self, port: int) -> None:
        """Does what `jax.distributed.initialize` does, but for its service, which runs in the coordinator.

        Nor does it start JAX's own handling of SIGTERM, which `StopPlace` replaces.
        """
        member, state = self.member, jax_distributed.global_state
        address = f"{self.member.address.rpartition(':')[0]}:{port}"
        if member.local_devices is not None:
            visible = ",".join(map(str, member.local_devices))
            jax.config.update("jax_cuda_visible_devices", visible)
            jax.config.update("jax_rocm_visible_devices", visible)
        patience = round(self.timeouts.failure)
        client = _jax.get_distributed_runtime_client(
            address,
            member.number,
            init_timeout=patience,
            heartbeat_timeout=JAX_PATIENCE * patience,
            shutdown_timeout=patience,
            use_compression=True,
        )
        client.connect()
        state.client, state.coordinator_address = client, address
        state.process_id, state.num_processes = member.number, member.count

    def gather(self, value: Any) -> list[Any]:
        """The JSON-like values that all hosts pass, by host. Returns when every host has called it.

        Raises:
          HostFailed: a host has failed.
        """
        self._turn += 1
        self._send(gather=[self._turn, value])
        return self._answer("gathered")

    def leave(self) -> None:
        """Waits until all hosts have finished; afterwards one that ends is no longer a failure.

        Raises:
          HostFailed: a host has failed.
          UserError: a host has not finished in time; the message names it.
        """
        self._send(leave=None)
        try:
            self._answer("left", self.timeouts.end)
        except TimeoutError:
            self._send(staying=None)
            raise UserError(
                f"{', '.join(self._answer('staying'))} did not finish within {self.timeouts.end:g} seconds after this "
                "host. What was trained is saved, and the same command makes the report again; --timeouts.end waits "
                "longer."
            ) from None
        self._left = True

    def ask_to_stop(self, number: int) -> None:
        """Asks all hosts to stop at the same place, because of a signal. A handler of signals may call it."""
        self._send(stop=number)

    def fail(self, text: str, code: int, patience: float = 0.0) -> HostFailed:
        """Tells the others why this host ends.

        Args:
          text: why.
          code: exit code for all hosts.
          patience: seconds to wait before, in which this host may hear of a failure that is the cause of its own.

        Returns:
          The failure that came first: this one, or that of another host.
        """
        if self._connection is None:
            return HostFailed(text, code, here=True)
        _wait(lambda: self.failure is not None, patience)
        if self.failure is None:
            self._send(failed={"text": text, "code": code})
            _wait(lambda: self.failure is not None, min(self.timeouts.failure, 10.0))
        return self.failure or HostFailed(text, code, here=True)

    def end(self, failure: HostFailed, *, told: bool = False) -> NoReturn:
        """Ends this process at once: whatever it still had to do with the others would never come to an end.

        Args:
          failure: what is printed, and the exit code.
          told: whether it has been printed.
        """
        with self._ending:
            if not told:
                print(describe(failure), file=sys.stderr)
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(failure.code)

    def _send(self, **message: Any) -> None:
        self._outgoing.put(encode(message))

    def _send_all(self) -> None:
        while True:
            message = self._outgoing.get()
            try:
                self._connection.sendall(message)
            except OSError:
                return  # `_receive_all` notices it too

    def _receive_all(self) -> None:
        try:
            with self._connection.makefile("rb") as lines:
                for line in lines:
                    ((kind, content),) = json.loads(line).items()
                    self._received(kind, content)
        except OSError:
            pass
        if not self._left:
            self._on_failed(
                {
                    "number": None,
                    "host": None,
                    "code": 2,
                    "text": f"host 0, at {self.member.address}, is gone. The same command on all hosts continues",
                }
            )

    def _received(self, kind: str, content: Any) -> None:
        if kind == "stopping":
            self._send(place=self.stop_place.hold(content["signal"]))
        elif kind == "stop_at":
            if not self.stop_place.decide(content["place"]):
                name = signal.Signals(content["signal"]).name
                text = f"ended by {name}, which {content['host']} received; the same command continues a run"
                self._on_failed({"number": None, "host": None, "code": 128 + content["signal"], "text": text})
        elif kind == "failed":
            self._on_failed(content)
        else:
            self._answers[kind].put(content)

    def _on_failed(self, content: Mapping[str, Any]) -> None:
        """Ends this process: in good order if its main thread can be interrupted, else without it."""
        if self.failure is not None:
            return
        here = content["number"] == self.member.number
        origin = "" if here or content["host"] is None else f"{content['host']}: "
        self.failure = HostFailed(f"{origin}{content['text']}", content["code"], here=here)
        for answers in self._answers.values():
            answers.put(None)
        self.stop_place.release()
        main = threading.main_thread()
        if not here:
            signal.pthread_kill(main.ident, signal.SIGINT)
        main.join(min(self.timeouts.failure / 4, GRACE))
        self.end(self.failure)

    def _answer(self, kind: str, timeout: float | None = None) -> Any:
        """The next answer of a kind. Raises HostFailed, or TimeoutError."""
        try:
            answer = self._answers[kind].get(timeout=timeout)
        except queue.Empty:
            raise TimeoutError from None
        if self.failure is not None:
            raise self.failure
        return answer


def describe(failure: HostFailed) -> str:
    """A failure as it is printed."""
    return f"{failure}" if failure.code > 128 else f"error: {failure}"


def _wait(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def _start_coordinator(member: Membership, timeouts: Timeouts) -> None:
    """Starts the coordinator, which ends when all hosts have left."""
    arguments = [member.address, member.count, timeouts.start, timeouts.failure]
    process = subprocess.Popen(
        [sys.executable, "-m", "ssl_jax.training.coordinator", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C and the end of the terminal are for the hosts
        text=True,
    )
    said = process.stdout.readline().strip()
    if said != "ready":
        raise UserError(
            f"--hosts {member.address},...: this machine cannot listen there ({said or 'the coordinator ended'}). Give "
            "an address of this machine and a free port; a run that has just been ended may need some seconds to "
            "leave its port."
        )
