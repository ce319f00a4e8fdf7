"""One storage for all tests of this folder. Each test has a folder of its own in it."""

from collections.abc import Iterator

import pytest

from tests import bucket


@pytest.fixture(scope="session")
def server() -> Iterator[bucket.Storage]:
    with bucket.serving() as storage:
        yield storage


@pytest.fixture
def storage(server: bucket.Storage) -> Iterator[bucket.Storage]:
    """The storage, empty, which refuses nothing."""
    server.objects.clear()
    server.requests.clear()
    yield server
    server.refuse = lambda request: None


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that fail in passing are repeated at once."""

    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr("gcsfs.retry.asyncio.sleep", at_once)
