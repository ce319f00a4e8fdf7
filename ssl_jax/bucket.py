"""Google Cloud Storage: the few requests that run folders on gs:// are made of, and how they fail.

gcsfs gives the connection, the credentials and the repetition of requests that fail in passing. Its listings, which it
caches, are not used: TensorStore writes to the same bucket beside it. A request that fails raises an `OSError` with an
error number, as one to a local file does.
"""

import contextlib
import errno
import functools
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import gcsfs

SCHEME = "gs://"
ABSENT = 0
"""The generation of an object that is not there."""
AT_ONCE = 16
"""Requests of one kind that are on their way together."""
TIMEOUTS = {"total": 120, "sock_connect": 10, "sock_read": 30}
"""Seconds for one request, for its connection, and for the next byte of its answer."""


class Entries(NamedTuple):
    """What lies directly in a folder, by name.

    Attributes:
      objects: its objects.
      folders: the first parts of the names of objects further down.
    """

    objects: list[str]
    folders: list[str]


class StorageError(OSError):
    """A request was refused (errno EACCES), or was not answered (errno EIO); strerror says so in words."""


def is_remote(path: str | os.PathLike) -> bool:
    """Whether a path is on Google Cloud Storage, not on a file system."""
    return os.fspath(path).startswith(SCHEME)


@functools.cache
def _client() -> "gcsfs.GCSFileSystem":
    # What this adds is for buckets of other kinds; it asks for the kind of every bucket through gRPC.
    os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    # Half a second, which runs in a local folder need not wait for.
    import aiohttp
    import gcsfs

    # They log every error that they also raise, and every place that holds no credentials.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    timeout = aiohttp.ClientTimeout(**TIMEOUTS)
    return gcsfs.GCSFileSystem(use_listings_cache=False, session_kwargs={"timeout": timeout})


def _split(path: str) -> tuple[str, str]:
    """gs://BUCKET/NAME -> (BUCKET, NAME)."""
    bucket, _, name = path.removeprefix(SCHEME).partition("/")
    return bucket, name.rstrip("/")


def _call(path: str, method: str, url: str, *names: str, **options: Any) -> Any:
    """Makes a request; `path` is named in the error."""
    client = _client()
    import aiohttp
    from gcsfs.retry import HttpError
    from google.auth.exceptions import GoogleAuthError

    try:
        return client.call(method, url, *names, **options)
    except FileNotFoundError:
        if len(names) == 1:  # a list may be empty, and a new object has any name
            raise StorageError(errno.EIO, f"there is no bucket {names[0]}", path) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None
    except FileExistsError:  # a precondition does not hold
        raise FileExistsError(errno.EEXIST, "it was changed by another process", path) from None
    except (OSError, ValueError, HttpError, aiohttp.ClientError, GoogleAuthError, TimeoutError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        refused = getattr(error, "code", None) in (401, 403) or said.startswith("Forbidden")
        number = errno.EACCES if refused or isinstance(error, GoogleAuthError) else errno.EIO
        reason = f"Google Cloud Storage {'refuses it' if refused else 'was not reached'}: {said[-300:]}"
        raise StorageError(number, reason, path) from error


def read(path: str) -> bytes:
    """The content of an object."""
    _, content = _call(path, "GET", "b/{}/o/{}", *_split(path), alt="media")
    return content


def write(path: str, content: bytes, generation: int | None = None) -> int:
    """Writes an object whole.

    Args:
      path: of the object.
      content: of it.
      generation: that the object must have now, `ABSENT` for none; None for any.

    Returns:
      Its new generation.

    Raises:
      FileExistsError: the object has another generation.
      OSError: it cannot be written.
    """
    bucket, name = _split(path)
    url = _client().base.replace("/storage/v1/", "/upload/storage/v1/") + "b/{}/o"
    options = {"uploadType": "media", "name": name, "ifGenerationMatch": generation, "data": content}
    return int(_call(path, "POST", url, bucket, json_out=True, **options)["generation"])


def append(path: str, content: bytes, part: str, generation: int) -> int:
    """Adds to the end of an object, without sending the rest of it again.

    Args:
      path: of the object.
      content: what is added.
      part: of an object that holds the content for a moment.
      generation: that the object must have now.

    Returns:
      Its new generation.

    Raises:
      FileExistsError: the object has another generation.
      OSError: it cannot be written.
    """
    write(part, content)
    sources = [{"name": _split(path)[1]}, {"name": _split(part)[1]}]
    composed = _call(
        path,
        "POST",
        "b/{}/o/{}/compose",
        *_split(path),
        json={"sourceObjects": sources},
        ifGenerationMatch=generation,
        json_out=True,
    )
    delete(part)
    return int(composed["generation"])


def describe(path: str) -> Mapping[str, Any]:
    """What the storage says of an object, such as its "size" and "generation"; FileNotFoundError if it is absent."""
    return _call(path, "GET", "b/{}/o/{}", *_split(path), json_out=True)


def delete(path: str, generation: int | None = None) -> None:
    """Removes an object. Arguments and errors are those of `write`; FileNotFoundError if it is absent."""
    _call(path, "DELETE", "b/{}/o/{}", *_split(path), ifGenerationMatch=generation)


def copy(source: str, target: str) -> None:
    """Copies an object within Google Cloud Storage."""
    url, names, token = "b/{}/o/{}/rewriteTo/b/{}/o/{}", (*_split(source), *_split(target)), None
    while True:
        answer = _call(source, "POST", url, *names, rewriteToken=token, json_out=True)
        if answer["done"]:
            return
        token = answer["rewriteToken"]


def list_folder(path: str) -> Entries:
    """What lies directly in a folder; FileNotFoundError if there is no such folder."""
    objects, folders = [], []
    for page in _pages(path, delimiter="/"):
        objects += [item["name"] for item in page.get("items", ())]
        folders += page.get("prefixes", ())
    if not objects and not folders and _split(path)[1]:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    # An empty name is a mark of the console for the folder itself.
    names = [name.rpartition("/")[2] for name in objects]
    return Entries([name for name in names if name], [name[:-1].rpartition("/")[2] for name in folders])


def list_all(path: str) -> list[str]:
    """The paths of all objects below a folder, in alphabetical order; empty if there is no such folder."""
    bucket, _ = _split(path)
    return [f"{SCHEME}{bucket}/{item['name']}" for page in _pages(path) for item in page.get("items", ())]


def list_sizes(path: str) -> dict[str, int]:
    """The bytes of each object that lies directly in a folder, by name; empty if there is no such folder."""
    items = [item for page in _pages(path, delimiter="/") for item in page.get("items", ())]
    return {item["name"].rpartition("/")[2]: int(item["size"]) for item in items}


def is_folder(path: str) -> bool:
    """Whether there is an object below a path."""
    return not _split(path)[1] or bool(next(_pages(path, maxResults=1)).get("items"))


def _pages(path: str, **options: Any) -> Iterator[Mapping[str, Any]]:
    bucket, name = _split(path)
    token = None
    while True:
        prefix = f"{name}/" if name else None
        page = _call(path, "GET", "b/{}/o", bucket, prefix=prefix, pageToken=token, json_out=True, **options)
        yield page
        if not (token := page.get("nextPageToken")):
            return


def delete_all(paths: Iterable[str]) -> None:
    """Removes objects; one that is absent does not matter."""

    def remove(path: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            delete(path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(remove, paths))


def move_folder(source: str, target: str, last: str | None = None) -> None:
    """Moves all objects below a folder.

    Args:
      source: the folder.
      target: its new path.
      last: name of an object that makes the folder complete. It is copied last and removed first, so that when this is
        interrupted, the folder is complete in one place at least, and what is incomplete does not have it.
    """
    paths = list_all(source)
    marks = [path for path in paths if path == f"{source}/{last}"]
    others = [path for path in paths if path not in marks]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda path: copy(path, target + path.removeprefix(source)), others))
    for mark in marks:
        copy(mark, target + mark.removeprefix(source))
    delete_all(marks)
    delete_all(others)
