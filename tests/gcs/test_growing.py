"""Objects that grow: what was added arrives on a clock, and each byte is sent once."""

from collections.abc import Callable, Iterator

import pytest
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training import growing
from tests.bucket import Storage, until

FOLDER = epath.Path("gs://bucket/run")


@pytest.fixture
def grow(storage: Storage) -> Iterator[Callable[[bytes], growing.GrowingObject]]:
    made = []

    def make(content: bytes) -> growing.GrowingObject:
        made.append(growing.growing(FOLDER / "log", FOLDER / "part", content))
        return made[-1]

    yield make
    storage.refuse = lambda request: None
    for one in made:
        one.close()


def test_what_was_added_arrives_on_a_clock(
    grow: Callable, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "SENT_EVERY", 0.02)
    log = grow(b"1")
    log.append(b"2")
    until(lambda: storage.read("run/log") == b"12")
    log.append(b"3")
    until(lambda: storage.read("run/log") == b"123")


def test_each_byte_of_a_large_object_is_sent_once(
    grow: Callable, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "SMALL", 10)
    sent = []
    write = storage.write
    monkeypatch.setattr(
        storage,
        "write",
        lambda name, content, query: (sent.append(len(content)), write(name, content, query))[1],
    )
    monkeypatch.setattr(storage, "compose", composing(storage, sent))
    log = grow(b"0123456789-")
    for number in range(20):
        log.append(b"%05d" % number)
        log.flush()
        log.flush()
    assert storage.read("run/log") == b"0123456789-" + b"".join(b"%05d" % number for number in range(20))
    assert sum(sent) == 11 + 20 * 5
    assert storage.names() == ["run/log"]


def composing(storage: Storage, sent: list[int]) -> Callable:
    """`compose` whose own writing, within the storage, is not counted as sent."""
    compose = storage.compose

    def uncounted(*arguments: object) -> object:
        before = len(sent)
        made = compose(*arguments)
        del sent[before:]
        return made

    return uncounted


@pytest.mark.parametrize("step", ["POST run/part", "POST run/log", "DELETE run/part"])
def test_an_object_is_whole_again_after_a_refusal(
    step: str, grow: Callable, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At any of the requests, and whether or not what was refused had been done."""
    monkeypatch.setattr(growing, "SMALL", 0)
    log = grow(b"1")
    for done, content in ((False, b"12"), (True, b"123")):
        log.append(content[-1:])
        storage.refuse = lambda request, done=done: refused(storage, request, step, done)
        with pytest.raises(
            UserError, match=r"gs://bucket/run/log cannot be written \(Google Cloud Storage refuses"
        ):
            log.flush()
        storage.refuse = lambda request: None
        log.flush()
        assert storage.read("run/log") == content


def refused(storage: Storage, request: str, step: str, done: bool) -> int | None:
    if request != step:
        return None
    if done and step == "POST run/log":
        storage.compose("run/log", [{"name": "run/log"}, {"name": "run/part"}], {})
    return 403
