"""The lease of a run folder on gs://: who gets it, when it is taken over, and that its loss is noticed."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from etils import epath

from ssl_jax import bucket
from ssl_jax.errors import UserError
from ssl_jax.training import lease
from tests.bucket import Storage, until

PATH = epath.Path("gs://bucket/run/.lock")
ELSEWHERE = ["another start", "another container", "1", "1"]


@pytest.fixture(autouse=True)
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("RENEWED_EVERY", 0.05), ("STALE_AFTER", 0.4), ("LOOKED_EVERY", 0.02)):
        monkeypatch.setattr(lease, name, seconds)


def take(log: Callable[[str], None] = pytest.fail, on_loss: Callable[[], None] = pytest.fail) -> lease.Lease:
    return lease.take(PATH, log, on_loss)


def leave(storage: Storage, identity: list[str], process: int = 1) -> dict:
    """What a process that was killed leaves behind."""
    holder = {"host": "other", "process": process, "started": "then", "identity": identity, "lease": "0"}
    storage.put("run/.lock", json.dumps(holder).encode())
    return holder


def test_one_at_a_time(storage: Storage) -> None:
    held = take()
    with pytest.raises(
        UserError, match=f"gs://bucket/run is in use by process {os.getpid()} on .* started at"
    ):
        take()
    held.release()
    assert storage.names() == []
    take().release()


def test_the_lease_of_a_process_that_has_ended_is_taken_at_once(storage: Storage) -> None:
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = lease._identity(ended.pid)
    assert identity[:2] == lease._identity(os.getpid())[:2]
    leave(storage, identity, ended.pid)
    with pytest.raises(UserError, match=f"in use by process {ended.pid} on other"):
        take()
    ended.kill()  # not waited for: a process whose end nobody has noticed has ended as well
    until(lambda: not lease._identity(ended.pid))
    take().release()
    ended.communicate()
    # The number was given to another process.
    leave(storage, [*identity[:2], str(os.getpid()), "1"], os.getpid())
    take().release()


def test_the_lease_of_another_machine_is_taken_when_it_is_stale(storage: Storage) -> None:
    leave(storage, ELSEWHERE)
    told: list[str] = []
    held = take(told.append)
    assert told == [
        "gs://bucket/run: process 1 on other was in this folder and may have been killed; waiting 0 s for a sign of it"
    ]
    held.release()


def test_the_lease_of_another_machine_that_is_renewed_is_respected(storage: Storage) -> None:
    leave(storage, ELSEWHERE)
    timer = threading.Timer(0.1, lambda: leave(storage, ELSEWHERE))
    timer.start()
    with pytest.raises(UserError, match="in use by process 1 on other"):
        take(lambda line: None)
    timer.join()


def test_the_faster_of_two_gets_it(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see that nobody has it; the other one writes first."""
    write = bucket.write

    def slow(path: str, content: bytes, generation: int | None = None) -> int:
        monkeypatch.setattr(bucket, "write", write)
        leave(storage, lease._identity(os.getpid()), os.getpid())
        return write(path, content, generation)

    monkeypatch.setattr(bucket, "write", slow)
    with pytest.raises(UserError, match="in use by process"):
        take()


def test_a_lease_is_renewed_and_its_loss_is_noticed(storage: Storage) -> None:
    lost = threading.Event()
    held = take(on_loss=lost.set)
    first = storage.objects["run/.lock"].generation
    until(lambda: storage.objects["run/.lock"].generation != first)
    assert not lost.is_set()
    theirs = leave(storage, ELSEWHERE)
    assert lost.wait(10)
    held.release()
    assert json.loads(storage.read("run/.lock")) == theirs


def test_a_renewal_whose_answer_was_lost_is_not_a_loss(storage: Storage) -> None:
    """It is repeated, and then the object has another generation than the one that was known."""
    held = take()
    for _ in range(3):
        first = storage.objects["run/.lock"].generation
        storage.put("run/.lock", storage.read("run/.lock"))
        until(lambda first=first: storage.objects["run/.lock"].generation > first + 1)
    held.release()
    assert storage.names() == []


def test_a_store_that_is_not_reached_for_a_while_is_not_a_loss(storage: Storage, impatient: None) -> None:
    held = take()
    asked = len(storage.requests)
    storage.refuse = lambda request: 503
    until(lambda: len(storage.requests) >= asked + 20)
    storage.refuse = lambda request: None
    held.release()
    assert storage.names() == []


LOSING = """
import time
from etils import epath
from ssl_jax.training import lease

lease.RENEWED_EVERY = 0.05
with lease.leased(epath.Path("gs://bucket/run/.lock"), print):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_has_lost_its_lease_ends_at_once(storage: Storage) -> None:
    losing = subprocess.Popen(
        [sys.executable, "-c", LOSING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert losing.stdout.readline() == "held\n"
    theirs = leave(storage, ELSEWHERE)
    _, err = losing.communicate(timeout=30)
    assert losing.returncode == 2
    assert re.fullmatch(r"error: gs://bucket/run: another process has taken over this folder, .*\n", err)
    assert json.loads(storage.read("run/.lock")) == theirs


def test_something_else_of_this_name_is_named(storage: Storage) -> None:
    storage.put("run/.lock", b"[]")
    with pytest.raises(UserError, match=r"^gs://bucket/run/\.lock: "):
        take()
