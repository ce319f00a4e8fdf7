"""Cached folders of derived data, written atomically by any number of processes at once, and verified when opened."""

import contextlib
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypedDict, TypeVar

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import draft_of, read_json, write_json

CHECKSUMS = "checksums.json"
"""A file in each cached folder: the size and the checksum of each of its other files."""
_BLOCK_BYTES = 1 << 22

Opened = TypeVar("Opened")


class Damaged(Exception):
    """A cached folder does not have the content that was written; the message says what is wrong."""


class _Checksum(TypedDict):
    """What is known of a file: its size in bytes and the CRC-32 of its content, which costs 0.5 s per GB."""

    size: int
    crc32: int


def default_cache() -> Path:
    """The folder of caches: `$SSL_JAX_CACHE` if it is set, otherwise `ssl_jax` in the user's cache folder.

    The user's cache folder is `$XDG_CACHE_HOME` or `~/.cache`. As the XDG specification says, an empty variable counts
    as not set, and a relative `$XDG_CACHE_HOME` is ignored.

    Raises:
      UserError: the user has no home folder.
    """
    if named := os.environ.get("SSL_JAX_CACHE"):
        return Path(os.path.expanduser(named))
    if os.path.isabs(caches := os.environ.get("XDG_CACHE_HOME", "")):
        return Path(caches) / "ssl_jax"
    home = os.path.expanduser("~")  # "/" for an empty $HOME, and "~" for a user without a home
    if os.environ.get("HOME") == "" or not os.path.isabs(home):
        raise UserError(
            "cache folder: this user has no home folder, in which caches are kept; set SSL_JAX_CACHE to a folder that "
            "can be written, such as SSL_JAX_CACHE=/tmp/ssl_jax."
        )
    return Path(home) / ".cache" / "ssl_jax"


def cached(path: Path, make: Callable[[Path], None], read: Callable[[Path], Opened]) -> Opened:
    """Opens a cached folder. If there is none, or if it is damaged, it is made first.

    All files are compared with their checksums at each opening. A damaged folder is removed, not overwritten, so that
    other processes that have opened its files can go on with them. If several processes make a folder at once, the
    first one's is kept: all have the same content.

    Args:
      path: the folder.
      make: writes the files into the folder that it is given.
      read: opens the files; raises `Damaged` if they are not what `make` writes.

    Raises:
      UserError: the folder cannot be read or written.
    """
    try:
        with _named_errors(path, "read"):
            if os.path.lexists(path):
                _verify(path)
                return read(path)
    except Damaged as error:
        print(f"the cache {path} is damaged ({error}); it is made again", flush=True)
        with _named_errors(path, "replaced"):
            _remove(path)
    _write(path, make)
    with _named_errors(path, "read"):
        return read(path)


def _write(path: Path, make: Callable[[Path], None]) -> None:
    # Not `tempfile.mkdtemp`, whose folders are private: other users may share the cache as far as the umask allows.
    temporary = draft_of(path)
    try:
        with _named_errors(path, "written"):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            make(temporary)
            sums = {file.name: _checksum(file) for file in sorted(temporary.iterdir())}
            write_json(epath.Path(temporary / CHECKSUMS), sums)
            try:
                os.rename(temporary, path)
            except OSError:
                if not path.is_dir():
                    raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove(path: Path) -> None:
    old = draft_of(path)
    with contextlib.suppress(FileNotFoundError):  # another process has removed it
        os.rename(path, old)
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


def _verify(folder: Path) -> None:
    """Compares the files of a folder with their checksums.

    Raises:
      Damaged: a file is missing or has another content.
      OSError: a file cannot be read, which is no damage.
    """
    summary = folder / CHECKSUMS
    if not summary.is_file():
        raise Damaged(f"{CHECKSUMS} is missing")
    summary.read_bytes()
    try:
        sums = read_json(epath.Path(summary), dict[str, _Checksum])
    except UserError as error:
        raise Damaged(str(error)) from None
    for name, expected in sums.items():
        if Path(name).name != name or not (folder / name).is_file():
            raise Damaged(f"{name} is missing")
        size = (folder / name).stat().st_size
        if size != expected["size"]:
            raise Damaged(f"{name} has {size:,} bytes; expected {expected['size']:,}")
        if _checksum(folder / name) != expected:
            raise Damaged(f"{name} has another checksum")


def _checksum(path: Path) -> _Checksum:
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return {"size": size, "crc32": crc}


@contextlib.contextmanager
def _named_errors(path: Path, done: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cache folder {str(path)!r} cannot be {done} ({error.strerror or error}). Free some space there, have its "
            "owner give permission (chmod -R a+rX), or set SSL_JAX_CACHE to another folder."
        ) from error
