"""The meeting of the hosts: who may take part, and what all of them are told."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from ssl_jax.training.coordinator import Coordinator, encode
from tests.processes import free_port


class Host:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def send(self, **message: Any) -> None:
        self.writer.write(encode(message))

    async def received(self) -> dict[str, Any]:
        return json.loads(await asyncio.wait_for(self.reader.readline(), 10))


def meeting(count: int, then: Callable[..., Awaitable[None]], start: float = 60.0) -> None:
    """A coordinator, and a function that connects to it with `connect(number, count)`."""

    async def both() -> None:
        port = free_port()
        connected: list[Host] = []
        coordinator = Coordinator(count, 1234, start, failure=60.0)
        serving = asyncio.create_task(coordinator.serve(("localhost", port)))
        await asyncio.sleep(0.05)

        async def connect(number: int, of: int = count) -> Host:
            host = Host(*await asyncio.open_connection("localhost", port))
            connected.append(host)
            host.send(hello={"number": number, "count": of, "name": f"tpu-{number}"})
            return host

        await then(connect)
        for host in connected:
            host.writer.close()
        coordinator.everyone_left.set()
        await serving

    asyncio.run(both())


def test_hosts_start_together_and_gather_values_by_their_numbers() -> None:
    async def then(connect):
        late, early = await connect(1), await connect(0)
        for host in (late, early):
            assert await host.received() == {"started": {"port": 1234, "names": ["tpu-0", "tpu-1"]}}
        early.send(gather=[1, "a"])
        early.send(gather=[2, "c"])
        late.send(gather=[1, "b"])
        late.send(gather=[2, "d"])
        for host in (late, early):
            assert await host.received() == {"gathered": ["a", "b"]}
            assert await host.received() == {"gathered": ["c", "d"]}

    meeting(2, then)


def test_a_number_that_is_taken_and_another_count_are_refused() -> None:
    """The others go on waiting for the right one."""

    async def then(connect):
        first = await connect(0)
        twin = await connect(0)
        assert "the number 0 is taken by tpu-0" in (await twin.received())["failed"]["text"]
        stranger = await connect(1, of=3)
        assert "told of 3 hosts, and host 0 of 2" in (await stranger.received())["failed"]["text"]
        await connect(1)
        assert "started" in await first.received()

    meeting(2, then)


def test_what_is_not_a_host_is_ignored() -> None:
    async def then(connect):
        first = await connect(0)
        for line in (b"GET / HTTP/1.1\r\n", b"[1]\n", b'{"hello": 3}\n'):
            stranger = await connect(0)
            stranger.writer.write(line)
            stranger.writer.close()
        noisy = await connect(1)
        assert "started" in await first.received()
        noisy.send(nonsense=1)
        assert (await first.received())["failed"]["host"] == "host 1 (tpu-1)"

    meeting(2, then)


def test_only_the_first_failure_counts() -> None:
    async def then(connect):
        hosts = [await connect(n) for n in range(3)]
        for host in hosts:
            await host.received()
        hosts[1].send(failed={"text": "no disk", "code": 2})
        wanted = {"failed": {"number": 1, "host": "host 1 (tpu-1)", "text": "no disk", "code": 2}}
        assert await hosts[1].received() == wanted
        hosts[2].send(failed={"text": "the connection broke", "code": 1})
        hosts[1].writer.close()
        for host in (hosts[0], hosts[2]):
            assert await host.received() == wanted
            host.writer.close()
            assert await host.reader.read() == b""

    meeting(3, then)


def test_a_host_may_go_when_all_have_finished() -> None:
    async def then(connect):
        hosts = [await connect(n) for n in range(2)]
        for host in hosts:
            await host.received()
        hosts[0].send(leave=None)
        hosts[0].send(staying=None)
        assert await hosts[0].received() == {"staying": ["host 1 (tpu-1)"]}
        hosts[1].send(leave=None)
        for host in hosts:
            assert await host.received() == {"left": None}
        hosts[0].writer.close()
        hosts[1].send(gather=[1, None])
        hosts[1].writer.write_eof()
        assert await hosts[1].reader.read() == b""

    meeting(2, then)


def test_hosts_that_do_not_start_are_named() -> None:
    async def then(connect):
        first = await connect(1)
        text = (await first.received())["failed"]["text"]
        assert text.startswith("hosts 0, 2 of 3 did not start within 0.2 seconds")

    meeting(3, then, start=0.2)
