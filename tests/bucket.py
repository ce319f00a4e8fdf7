"""A Google Cloud Storage of one's own: its JSON API over HTTP, in memory, in a thread of the tests.

It holds what the real one holds: strong consistency, generations and their preconditions (412), 404 for what is not
there, pages of listings with a delimiter, ranges, and uploads that become visible as a whole.
"""

import base64
import itertools
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

BUCKET = "bucket"
"""The one bucket that there is."""
PAGE = 100
"""Most entries of a page of a listing; fewer than the 1,000 of the real one, so that lists have pages in tests."""


class Stored(NamedTuple):
    """An object."""

    content: bytes
    generation: int


class FailureError(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Storage:
    """The objects by name, and what was asked.

    Attributes:
      objects: content and generation by name.
      requests: "METHOD name" of every request so far, where a listing is "LIST prefix".
      refuse: answers a request ("METHOD name") with a status instead, such as 503; None lets it pass.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Stored] = {}
        self.requests: list[str] = []
        self.refuse: Callable[[str], int | None] = lambda request: None
        self._generations = itertools.count(1_700_000_000_000_000)
        self._sessions: dict[str, tuple[str, dict[str, str], bytes]] = {}
        self._lock = threading.RLock()

    def names(self, prefix: str = "") -> list[str]:
        """Of the objects below a prefix."""
        with self._lock:
            return sorted(name for name in self.objects if name.startswith(prefix))

    def read(self, name: str) -> bytes:
        """The content of an object; empty if it is not there."""
        with self._lock:
            return self.objects[name].content if name in self.objects else b""

    def put(self, name: str, content: bytes) -> None:
        """Writes an object."""
        self.write(name, content, {})

    def write(self, name: str, content: bytes, query: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            self._check(name, query)
            self.objects[name] = Stored(content, next(self._generations))
            return self.resource(name)

    def _check(self, name: str, query: Mapping[str, str]) -> None:
        """412 if a precondition does not hold."""
        found = self.objects[name].generation if name in self.objects else 0
        if "ifGenerationMatch" in query and int(query["ifGenerationMatch"]) != found:
            raise FailureError(412, "At least one of the pre-conditions you specified did not hold.")
        if "ifGenerationNotMatch" in query and int(query["ifGenerationNotMatch"]) == found:
            raise FailureError(304)

    def find(self, name: str, query: Mapping[str, str]) -> Stored:
        """404 if it is not there, or not of this generation."""
        if "ifGenerationMatch" in query or "ifGenerationNotMatch" in query:
            self._check(name, query)
        stored = self.objects.get(name)
        if stored is None or int(query.get("generation", stored.generation)) != stored.generation:
            raise FailureError(404, f"No such object: {BUCKET}/{name}")
        return stored

    def resource(self, name: str) -> dict[str, Any]:
        content, generation = self.objects[name]
        return {
            "kind": "storage#object",
            "id": f"{BUCKET}/{name}/{generation}",
            "name": name,
            "bucket": BUCKET,
            "generation": str(generation),
            "metageneration": "1",
            "size": str(len(content)),
            "timeCreated": "2026-01-01T00:00:00.000Z",
            "updated": "2026-01-01T00:00:00.000Z",
        }

    def listing(self, query: Mapping[str, str]) -> dict[str, Any]:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = min(int(query.get("maxResults", PAGE)), PAGE)
        after = base64.b64decode(query.get("pageToken", "")).decode()
        start, end = query.get("startOffset", ""), query.get("endOffset", "")
        entries: dict[str, bool] = {}
        for name in self.names(prefix):
            if name < start or (end and name >= end):
                continue
            rest = name[len(prefix) :]
            folder = bool(delimiter) and delimiter in rest
            entry = prefix + rest.split(delimiter)[0] + delimiter if folder else name
            if entry > after:
                entries[entry] = folder
        page = dict(itertools.islice(entries.items(), most))
        answer: dict[str, Any] = {"kind": "storage#objects"}
        if items := [self.resource(name) for name, folder in page.items() if not folder]:
            answer["items"] = items
        if folders := [name for name, folder in page.items() if folder]:
            answer["prefixes"] = folders
        if len(entries) > len(page):
            answer["nextPageToken"] = base64.b64encode(list(page)[-1].encode()).decode()
        return answer

    def compose(self, name: str, sources: list[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        with self._lock:
            if not 1 <= len(sources) <= 32:
                raise FailureError(400, "The number of source components provided is invalid.")
            contents = [self.find(source["name"], {}).content for source in sources]
            return self.write(name, b"".join(contents), query)

    def delete(self, name: str, query: Mapping[str, str]) -> None:
        with self._lock:
            self.find(name, query)
            del self.objects[name]

    def copy(self, source: str, target: str, query: Mapping[str, str], *, move: bool) -> dict[str, Any]:
        with self._lock:
            made = self.write(target, self.find(source, {}).content, query)
            if move:
                del self.objects[source]
        return made

    def open_session(self, name: str, query: dict[str, str]) -> str:
        """Begins a resumable upload. Returns its identifier."""
        with self._lock:
            session = str(len(self._sessions))
            self._sessions[session] = (name, query, b"")
            return session

    def add(self, session: str, content: bytes, content_range: str) -> dict[str, Any] | int:
        """The object if this was the last chunk, else how many bytes there are."""
        with self._lock:
            name, query, before = self._sessions[session]
            so_far, total = before + content, content_range.rpartition("/")[2]
            self._sessions[session] = (name, query, so_far)
            if total not in ("*", "") and int(total) > len(so_far):
                return len(so_far)
            return self.write(name, so_far, query)


class _Handler(BaseHTTPRequestHandler):
    """The routes of the JSON API."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet an answer
    disable_nagle_algorithm = True
    storage: Storage

    def log_message(self, *_: object) -> None:
        pass

    def _route(self) -> None:
        body = self._body()
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        path = re.sub("^/(upload/|download/)?storage/v1/", "", url.path)
        upload = url.path.startswith("/upload/")
        try:
            if url.path.startswith("/batch/"):
                self._batch(body)
                return
            bucket, _, rest = path.removeprefix("b/").partition("/")
            name = unquote(rest.partition("/")[2].split("/")[0])
            if upload:
                name = query.get("name") or self._named(body, query)
            listing = self.command == "GET" and rest == "o"
            asked = f"LIST {query.get('prefix', '')}" if listing else f"{self.command} {name}"
            self.storage.requests.append(asked)
            if status := self.storage.refuse(asked):
                raise FailureError(status, "refused by the test")
            if unquote(bucket) != BUCKET:
                raise FailureError(404, "The specified bucket does not exist.")
            if upload:
                self._upload(name, query, body)
            elif not rest:
                self._answer({"kind": "storage#bucket", "name": BUCKET})
            elif listing:
                self._answer(self.storage.listing(query))
            elif self.command == "GET" and query.get("alt") == "media":
                self._media(self.storage.find(name, query))
            elif self.command == "GET":
                self.storage.find(name, query)
                self._answer(self.storage.resource(name))
            elif self.command == "DELETE":
                self.storage.delete(name, query)
                self._send(204, b"")
            else:
                self._change(rest, query, body)
        except FailureError as failure:
            error = {"error": {"code": failure.status, "message": failure.message}}
            self._send(failure.status, b"" if failure.status == 304 else json.dumps(error).encode())

    do_GET = do_POST = do_PUT = do_DELETE = _route

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            chunks = []
            while size := int(self.rfile.readline(), 16):
                chunks.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(chunks)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _parts(self, body: bytes) -> list[bytes]:
        boundary = re.search('boundary="?([^";]+)', self.headers["Content-Type"])[1].encode()
        return [part.lstrip(b"\r\n") for part in body.split(b"--" + boundary)[1:-1]]

    def _named(self, body: bytes, query: Mapping[str, str]) -> str:
        """The name of an object in the metadata that an upload begins with."""
        metadata = body
        if query.get("uploadType") == "multipart":
            metadata = re.split(b"\r?\n\r?\n", self._parts(body)[0], maxsplit=1)[1]
        return json.loads(metadata or b"{}").get("name", "")

    def _upload(self, name: str, query: dict[str, str], body: bytes) -> None:
        kind = query.get("uploadType")
        if "upload_id" in query:
            done = self.storage.add(query["upload_id"], body, self.headers.get("Content-Range", ""))
            if isinstance(done, int):
                self._send(308, b"", {"Range": f"bytes=0-{done - 1}"})
            else:
                self._answer(done)
        elif kind == "resumable":
            place = (
                f"http://{self.headers['Host']}{self.path}&upload_id={self.storage.open_session(name, query)}"
            )
            self._send(200, b"", {"Location": place})
        else:
            if kind == "multipart":
                body = re.split(b"\r?\n\r?\n", self._parts(body)[1], maxsplit=1)[1]
                body = re.sub(b"\r?\n$", b"", body)
            self._answer(self.storage.write(name, body, query))

    def _change(self, rest: str, query: dict[str, str], body: bytes) -> None:
        words = rest.split("/")
        source = unquote(words[1])
        if words[2] == "compose":
            self._answer(self.storage.compose(source, json.loads(body)["sourceObjects"], query))
        elif words[2] == "moveTo":
            self._answer(self.storage.copy(source, unquote(words[4]), query, move=True))
        elif words[2] == "rewriteTo":
            made = self.storage.copy(source, unquote(words[6]), query, move=False)
            self._answer({"kind": "storage#rewriteResponse", "done": True, "resource": made})
        else:
            raise FailureError(400, f"not known to the tests: {self.command} {self.path}")

    def _batch(self, body: bytes) -> None:
        answers = []
        for part in self._parts(body):
            name = unquote(re.search(rb"DELETE /storage/v1/b/[^/]+/o/([^ ?]+)", part)[1].decode())
            self.storage.requests.append(f"DELETE {name}")
            try:
                self.storage.delete(name, {})
                answers.append("HTTP/1.1 204 No Content\r\n\r\n")
            except FailureError as failure:
                error = json.dumps({"error": {"code": failure.status, "message": failure.message}})
                answers.append(f"HTTP/1.1 {failure.status} Failed\r\n\r\n{error}")
        parts = "".join(f"--batch\r\nContent-Type: application/http\r\n\r\n{text}\r\n" for text in answers)
        self._send(200, f"{parts}--batch--".encode(), {"Content-Type": "multipart/mixed; boundary=batch"})

    def _media(self, stored: Stored) -> None:
        content, size = stored.content, len(stored.content)
        headers = {"x-goog-generation": str(stored.generation), "x-goog-stored-content-length": str(size)}
        asked = re.fullmatch("bytes=([0-9]*)-([0-9]*)", self.headers.get("Range", ""))
        if not asked:
            self._send(200, content, headers)
            return
        first, last = asked.groups()
        start = int(first) if first else max(size - int(last), 0)
        end = min(int(last) + 1, size) if first and last else size
        if start >= size:
            raise FailureError(416, "Requested range not satisfiable")
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        self._send(206, content[start:end], headers)

    def _answer(self, content: Mapping[str, Any]) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """A process that was killed in the middle of a request is what tests are about."""


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Returns as soon as the condition holds; fails if it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.002)


@contextmanager
def serving() -> Iterator[Storage]:
    """A storage that this process and those it starts reach as gs://bucket while the block runs."""
    storage = Storage()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"storage": storage}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with environment(address):
        yield storage
    server.shutdown()
    server.server_close()


@contextmanager
def environment(address: str) -> Iterator[None]:
    """Sends the clients of this process and of those it starts to an address, without credentials."""
    own = {
        "STORAGE_EMULATOR_HOST": address,
        "CLOUD_STORAGE_EMULATOR_ENDPOINT": address,
        "TENSORSTORE_GCS_HTTP_URL": address,
        "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
        "NO_GCE_CHECK": "true",
    }
    before = {name: os.environ.get(name) for name in own}
    os.environ.update(own)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
