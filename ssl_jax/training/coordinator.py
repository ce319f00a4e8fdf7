"""The process in which the hosts of a run meet, and through which they tell each other that one of them has failed.

python -m ssl_jax.training.coordinator HOST:PORT COUNT START FAILURE

Host 0 starts it. It is a process of its own, and not a thread of host 0, so that it is still there to say so when host
0 is killed; JAX's coordination service runs in it for the same reason, since JAX aborts every host that loses it.

Messages are lines of JSON, each an object with one key that says what it is. A host sends

    hello    its number, the count of hosts and its name, first of all
    gather   (round, value); it is answered when all hosts have sent the round
    failed   why this host ends, and with which exit code
    stop     a signal that asks the run to stop
    place    where this host is, in answer to `stopping`
    leave    that it has finished, and waits for the others
    staying  which hosts have not finished

and receives

    started  the port of JAX's service and the names of all hosts
    gathered the values of a round, by host
    left     that all have finished; from now on a connection may close
    staying  the names of the hosts that have not finished
    failed   which host has failed, why, and the exit code of all
    stopping a signal that one of the hosts has received
    stop_at  the place where all of them stop; null: they are not in the same loop, and stop at once
"""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any

LONGEST_MESSAGE = 2**20
"""Bytes; a connection that sends a longer line is closed."""
JAX_PATIENCE = 10
"""How much longer than this channel JAX's own service waits before it aborts all hosts."""


class Coordinator:
    """The state of the meeting."""

    def __init__(self, count: int, jax_port: int, start: float, failure: float) -> None:
        """Begins with no host.

        Args:
          count: of hosts.
          jax_port: of JAX's coordination service.
          start: seconds within which all hosts must say hello.
          failure: seconds within which a host that is lost must be noticed.
        """
        self.count, self.jax_port, self.start, self.failure = count, jax_port, start, failure
        self.writers: dict[int, asyncio.StreamWriter] = {}
        self.names: dict[int, str] = {}
        self.finished: set[int] = set()
        self.gathered: dict[int, dict[int, Any]] = {}
        self.stop: dict[str, Any] | None = None
        self.places: dict[int, Any] = {}
        self.failed: Mapping[str, Any] | None = None
        self.everyone_left = asyncio.Event()

    async def serve(self, address: tuple[str | None, int]) -> None:
        """Serves until all hosts have left. Prints a line when it is ready to be connected to."""
        server = await asyncio.start_server(self._connected, *address, limit=LONGEST_MESSAGE)
        print("ready", flush=True)
        async with server:
            waiting = asyncio.create_task(self._expect_all())
            await self.everyone_left.wait()
            waiting.cancel()

    async def _expect_all(self) -> None:
        await asyncio.sleep(self.start)
        if len(self.names) < self.count:
            missing = [n for n in range(self.count) if n not in self.names]
            self._fail(
                None,
                f"{_hosts(missing)} of {self.count} did not start within {self.start:g} seconds. Start the same "
                "command on every host, each with its own number; --timeouts.start waits longer.",
                code=2,
            )
        if not self.writers:
            self.everyone_left.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Reads what one host sends until it leaves."""
        keep_alive(writer.get_extra_info("socket"), self.failure)
        number = None
        try:
            hello = json.loads(await reader.readline())["hello"]
            if refused := self._refusal(hello):
                self._send(writer, failed={"number": None, "host": None, "text": refused, "code": 2})
                return
            number = hello["number"]
            self.writers[number], self.names[number] = writer, hello["name"]
            if self.failed:
                self._send(writer, failed=self.failed)
            elif len(self.names) == self.count:
                names = [self.names[n] for n in range(self.count)]
                self._broadcast(started={"port": self.jax_port, "names": names})
            while line := await reader.readline():
                ((kind, content),) = json.loads(line).items()
                getattr(self, f"_on_{kind}")(number, content)
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # what has connected is not a host
        except OSError:
            pass  # the connection broke: the same as closing it
        finally:
            writer.close()
            if number is not None:
                self._left(number)

    def _refusal(self, hello: Mapping[str, Any]) -> str | None:
        """Why a host cannot take part."""
        number, count = hello["number"], hello["count"]
        if count != self.count:
            return f"--hosts: this host was told of {count} hosts, and host 0 of {self.count}; give all the same COUNT."
        if number in self.names:
            return (
                f"--hosts: the number {number} is taken by {self.names[number]}; give every host its own ID, from 0 to "
                f"{self.count - 1}."
            )
        return None

    def _on_gather(self, number: int, content: tuple[int, Any]) -> None:
        turn, value = content
        values = self.gathered.setdefault(turn, {})
        values[number] = value
        if len(values) == self.count:
            del self.gathered[turn]
            self._broadcast(gathered=[values[n] for n in range(self.count)])

    def _on_leave(self, number: int, content: None) -> None:
        self.finished.add(number)
        if len(self.finished) == self.count:
            self._broadcast(left=None)

    def _on_staying(self, number: int, content: None) -> None:
        staying = [self._name(n) for n in range(self.count) if n not in self.finished]
        self._send(self.writers[number], staying=staying)

    def _on_failed(self, number: int, content: Mapping[str, Any]) -> None:
        self._fail(number, content["text"], content["code"])

    def _on_stop(self, number: int, signal: int) -> None:
        if self.stop is None:
            self.stop = {"signal": signal, "host": self._name(number)}
            self._broadcast(stopping=self.stop)

    def _on_place(self, number: int, place: Any) -> None:
        self.places[number] = place
        if len(self.places) < self.count:
            return
        places = list(self.places.values())
        together = all(places) and len({loop for loop, _ in places}) == 1
        self._broadcast(stop_at={**self.stop, "place": max(turn for _, turn in places) if together else None})

    def _left(self, number: int) -> None:
        del self.writers[number]
        if len(self.finished) < self.count and not self.failed:
            self._fail(
                number,
                "it ended without a word: it was killed, its memory was not enough, or its machine is gone. The same "
                "command on all hosts continues",
                code=2,
            )
        if not self.writers:
            self.everyone_left.set()

    def _fail(self, number: int | None, text: str, code: int) -> None:
        """Tells all hosts why they end. Only the first failure counts; the others may follow from it."""
        if self.failed is None:
            host = None if number is None else self._name(number)
            self.failed = {"number": number, "host": host, "text": text, "code": code}
            self._broadcast(failed=self.failed)
            # A host that does not leave by itself is ended by JAX, when this process is gone.
            asyncio.get_running_loop().call_later(self.failure, self.everyone_left.set)

    def _name(self, number: int) -> str:
        return f"host {number}" + (f" ({self.names[number]})" if number in self.names else "")

    def _broadcast(self, **message: Any) -> None:
        for writer in self.writers.values():
            self._send(writer, **message)

    @staticmethod
    def _send(writer: asyncio.StreamWriter, **message: Any) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # it has just left
            writer.write(encode(message))


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message).encode() + b"\n"


def keep_alive(connection: socket.socket, failure: float) -> None:
    """Lets the kernel notice within `failure` seconds that the machine at the other end is gone.

    The kernel answers for a process that is busy, also where a library holds Python's lock for minutes.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for option, seconds in (
        ("TCP_KEEPIDLE", failure / 4),
        ("TCP_KEEPINTVL", failure / 8),
        ("TCP_KEEPCNT", 4),
    ):
        if hasattr(socket, option):  # not on every system
            value = seconds if option == "TCP_KEEPCNT" else max(1, round(seconds))
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * failure))


def is_loopback(host: str) -> bool:
    """Whether the name of a host is this machine's own, so that nothing else need reach the port."""
    try:
        return all(
            info[4][0] in ("127.0.0.1", "::1")
            for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        )
    except OSError:
        return False


def _hosts(numbers: list[int]) -> str:
    return f"host{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("", 0))
        return listener.getsockname()[1]


def main(address: str, count: str, start: str, failure: str) -> int:
    """Runs the coordinator. Returns the exit code; the reason of a failure is printed."""
    # No message of JAX's service reaches anybody from here: the channel says what has happened.
    from jaxlib import _jax

    host, _, port = address.rpartition(":")
    own, jax_port = is_loopback(host), _free_port()
    patience = JAX_PATIENCE * round(float(failure))
    service = _jax.get_distributed_runtime_service(
        f"{'localhost' if own else '[::]'}:{jax_port}",
        int(count),
        heartbeat_timeout=patience,
        shutdown_timeout=patience,
    )
    coordinator = Coordinator(int(count), jax_port, float(start), float(failure))
    try:
        asyncio.run(coordinator.serve((host if own else None, int(port))))
    except OSError as error:
        print(error.strerror or error, flush=True)
        return 2
    service.shutdown()
    return 0


if __name__ == "__main__":
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # threads of the service may still wait for hosts that are gone
