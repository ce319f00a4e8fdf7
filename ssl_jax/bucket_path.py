"""`epath.Path("gs://...")` over the requests of `ssl_jax.bucket`, for all of this program and for Orbax.

What epath itself does there depends on the libraries that happen to be installed, trusts listings that TensorStore has
made out of date, and takes a store that cannot be reached for an empty one.
"""

import contextlib
import fnmatch
import io
import posixpath
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO

from etils import epath
from etils.epath import backend, stat_utils

from ssl_jax import bucket


class _Upload(io.BytesIO):
    """A new content of an object, which is sent when it is closed; after an error within `with` it is not."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if self.closed:
            return
        content = self.getvalue()
        super().close()
        bucket.write(self._path, content)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().close() if kind else self.close()


class _Backend(backend.Backend):
    """What epath asks of a storage. Folders need not be made: one is there as long as something is in it."""

    def open(self, path: str, mode: str) -> IO:
        if "a" in mode:
            raise ValueError(f"{path}: objects cannot be appended to; see bucket.append")
        content = _Upload(path) if "w" in mode else io.BytesIO(bucket.read(path))
        return content if "b" in mode else io.TextIOWrapper(content, encoding="utf-8")

    def exists(self, path: str) -> bool:
        return self._is_object(path) or self.isdir(path)

    def _is_object(self, path: str) -> bool:
        try:
            bucket.describe(path)
        except FileNotFoundError:
            return False
        return True

    def isdir(self, path: str) -> bool:
        return bucket.is_folder(path)

    def listdir(self, path: str) -> list[str]:
        objects, folders = bucket.list_folder(path)
        return sorted({*objects, *folders})

    def glob(self, path: str) -> list[str]:
        folder, pattern = posixpath.split(path)
        with contextlib.suppress(FileNotFoundError):
            return [posixpath.join(folder, name) for name in fnmatch.filter(self.listdir(folder), pattern)]
        return []

    def walk(
        self, top: str, *, top_down: bool = True, on_error: Callable[[OSError], object] | None = None
    ) -> Iterator[tuple[str, list[str], list[str]]]:
        objects, folders = bucket.list_folder(top)
        here = top, folders, objects
        if top_down:
            yield here
        for name in folders:
            yield from self.walk(posixpath.join(top, name), top_down=top_down, on_error=on_error)
        if not top_down:
            yield here

    def makedirs(self, path: str, *, exist_ok: bool = False, mode: int | None = None) -> None:
        pass

    mkdir = makedirs

    def rmtree(self, path: str) -> None:
        paths = bucket.list_all(path)
        if not paths:
            raise FileNotFoundError(path)
        bucket.delete_all(paths)

    def remove(self, path: str) -> None:
        bucket.delete(path)

    def rename(self, path: str, dst: str) -> None:
        if self.exists(dst):
            raise FileExistsError(dst)
        self.replace(path, dst)

    def replace(self, path: str, dst: str) -> None:
        if self._is_object(path):
            bucket.copy(path, dst)
            bucket.delete(path)
        else:
            bucket.move_folder(path, dst)

    def copy(self, path: str, dst: str, overwrite: bool) -> None:
        if not overwrite and self.exists(dst):
            raise FileExistsError(dst)
        bucket.copy(path, dst)

    def stat(self, path: str) -> stat_utils.StatResult:
        try:
            folder, size = False, int(bucket.describe(path)["size"])
        except FileNotFoundError:
            if not self.isdir(path):
                raise
            folder, size = True, 0
        return stat_utils.StatResult(
            is_directory=folder, length=size, mtime=0, owner=None, group=None, mode=None
        )


@epath.register_path_cls(bucket.SCHEME)
class BucketPath(type(epath.Path(bucket.SCHEME))):
    """A path on Google Cloud Storage."""

    @property
    def _backend(self) -> backend.Backend:
        return _BACKEND

    def resolve(self, strict: bool = False) -> "BucketPath":
        """The path itself: there are no links, and it is absolute."""
        return self


_BACKEND = _Backend()
