"""The arrays of a checkpoint as they are stored, read with TensorStore.

The library that writes checkpoints reads them too, but what it raises on a damaged file, or on one that may not be
read, may be anything. Here the two are told apart: damage is what was read and proved wrong.
"""

import contextlib
import errno
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import tensorstore as ts
from etils import epath

from ssl_jax.bucket import SCHEME, StorageError, is_remote
from ssl_jax.errors import UserError
from ssl_jax.training.fingerprints import ArrayNote, fingerprint_on_host

GROUP = 2**28
"""Bytes that are read at a time: enough to keep a disk busy, few beside a model that has to be saved."""
RETRIES = {"max_retries": 6, "initial_delay": "1s", "max_delay": "16s"}
"""Of requests to Google Cloud Storage that fail in passing: half a minute. Without it, a quarter of an hour."""
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
WRONG = ("", "NOT_FOUND", "DATA_LOSS", "FAILED_PRECONDITION", "OUT_OF_RANGE", "UNIMPLEMENTED")
"""How TensorStore begins a message about what a file holds (it has no word for an invalid value); all others are about
the system that it is read from, such as UNAVAILABLE."""


class DamageError(Exception):
    """A checkpoint was read, and is not what was saved. The message says how, in a few words."""


def system_error(error: BaseException) -> OSError | None:
    """The error of the system that an exception stems from; None if there is none.

    The storage library keeps it in its text only, after a path of any length.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno:
            return cause
        if code := re.search(r"os_error_code='(\d+)'", str(cause)):
            return OSError(int(code[1]), os.strerror(int(code[1])))
        if re.search("http_response_code='40[13]'", str(cause)):
            return OSError(errno.EACCES, os.strerror(errno.EACCES))
        cause = cause.__cause__ or cause.__context__
    return None


def reason(error: BaseException) -> str:
    """Why something failed, in the system's own words; if nothing tells, the end of what the library says."""
    if cause := system_error(error):
        return cause.strerror if isinstance(cause, StorageError) else os.strerror(cause.errno)
    text = str(error).partition("[tensorstore_spec=")[0].strip() or type(error).__name__
    last = text.splitlines()[-1]
    return last if len(last) <= 300 else f"... {last[-300:].partition(' ')[2]}"


def check_access(checkpoint: epath.Path) -> None:
    """Checks that every file of a checkpoint may be read, so that a refusal is not taken for damage.

    On gs:// each request tells by itself whether it was refused.

    Raises:
      UserError: a file or folder may not be read, or is neither (a link, a device).
      DamageError: the checkpoint is a file.
    """
    if is_remote(checkpoint):
        return
    waiting = [os.fspath(checkpoint)]
    if stat.S_ISREG(os.lstat(waiting[0]).st_mode):
        raise DamageError("it is a file, not a folder")
    while waiting:
        path = waiting.pop()
        with _of_the_system(path):
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode):
                waiting += (entry.path for entry in os.scandir(path))
            elif stat.S_ISREG(mode):
                with open(path, "rb") as file:
                    file.read(1)
            else:
                raise UserError(
                    f"{path} is neither a file nor a folder but a link or a device, which checkpoints never hold; "
                    "nothing was moved. Put the file that was saved in its place."
                )


def check_stored(checkpoint: epath.Path, notes: Mapping[str, ArrayNote]) -> None:
    """Reads arrays into host memory, a few at a time, and compares them with what is noted of them.

    Raises:
      DamageError: an array is not what is noted.
      UserError: the system does not let it be read.
    """
    arrays = open_arrays(checkpoint, notes)
    for names in _groups(arrays):
        futures = {name: arrays[name].read() for name in names}
        for name, future in futures.items():
            with _reading(checkpoint, name):
                content = np.asarray(future.result())
            if fingerprint_on_host(content) != notes[name]["fingerprint"]:
                raise DamageError(f"{name} is not what was saved")


def load_arrays(
    checkpoint: epath.Path, notes: Mapping[str, ArrayNote], abstract: Mapping[str, jax.ShapeDtypeStruct]
) -> dict[str, jax.Array]:
    """Reads arrays onto the devices. Their fingerprints are left to the caller, who has all of them.

    Args:
      checkpoint: its folder.
      notes: what is noted of the arrays.
      abstract: where each of them goes: its shape and dtype, those of the notes, and its sharding.

    Raises:
      DamageError: an array is missing, cannot be decoded, or has another shape or dtype than is noted.
      UserError: the system does not let it be read, or the devices do not take it.
    """
    arrays = open_arrays(checkpoint, {name: notes[name] for name in abstract})
    loaded = {}
    for names in _groups(arrays):
        reads = {name: _reads(arrays[name], abstract[name]) for name in names}
        for name in names:
            with _reading(checkpoint, name):
                pieces = {index: np.asarray(future.result()) for index, future in reads[name].items()}
            x = abstract[name]
            with on_devices(checkpoint):
                loaded[name] = jax.make_array_from_callback(
                    x.shape, x.sharding, lambda index, pieces=pieces: pieces[_bounds(index)]
                )
    return loaded


@contextlib.contextmanager
def on_devices(checkpoint: epath.Path) -> Iterator[None]:
    """Turns what the devices raise, such as that they have no memory left, into a UserError."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        raise not_readable(checkpoint, reason(error)) from error


def open_arrays(checkpoint: epath.Path, notes: Mapping[str, ArrayNote]) -> dict[str, ts.TensorStore]:
    """Opens arrays and compares their shapes and dtypes with the notes; nothing else is read.

    Raises:
      DamageError, UserError: like `load_arrays`.
    """
    # A piece of an array for each device is often a part of the same chunk.
    context = ts.Context({"cache_pool": {"total_bytes_limit": GROUP}, "gcs_request_retries": RETRIES})
    futures = {
        name: ts.open(_spec(checkpoint, name), context=context, open=True, read=True) for name in notes
    }
    arrays = {}
    for name, future in futures.items():
        with _reading(checkpoint, name):
            array = arrays[name] = future.result()
        stored = {"shape": list(array.shape), "dtype": array.dtype.numpy_dtype.name}
        noted = {key: notes[name][key] for key in stored}
        # A chunk is decoded whole; one that is larger than its array would take memory without bound.
        chunk = array.chunk_layout.read_chunk.shape or array.shape
        if stored != noted or any(n > max(m, 1) for n, m in zip(chunk, array.shape, strict=True)):
            raise DamageError(f"{name} has another shape or dtype than was saved")
    return arrays


def _spec(checkpoint: epath.Path, name: str) -> dict[str, Any]:
    """Where an array lies: a checkpoint has a store per part, the first word of the name."""
    part, _, path = name.partition("/")
    place = os.fspath(checkpoint / part) + "/"
    if is_remote(checkpoint):
        bucket, _, place = place.removeprefix(SCHEME).partition("/")
        base = {"driver": "gcs", "bucket": bucket, "path": place}
    else:
        base = {"driver": "file", "path": place}
    store = {"driver": "ocdbt", "base": base, "path": path.replace("/", ".") + "/"}
    # What was read once is not asked for again: a complete checkpoint does not change while it is read.
    unchanging = {"recheck_cached_metadata": False, "recheck_cached_data": False}
    return {"driver": "zarr3", "kvstore": store, **unchanging}


def _groups(arrays: Mapping[str, ts.TensorStore]) -> Iterator[Sequence[str]]:
    """The names, in lists of arrays that take at most GROUP bytes together, or of one that takes more."""
    names: list[str] = []
    total = 0
    for name, array in arrays.items():
        size = math.prod(array.shape) * array.dtype.numpy_dtype.itemsize
        if names and total + size > GROUP:
            yield names
            names, total = [], 0
        names.append(name)
        total += size
    yield names


Bounds = tuple[tuple[int | None, int | None], ...]


def _bounds(index: tuple[slice, ...]) -> Bounds:
    return tuple((piece.start, piece.stop) for piece in index)


def _reads(array: ts.TensorStore, x: jax.ShapeDtypeStruct) -> dict[Bounds, ts.Future]:
    """Starts to read each piece that a device of this process needs, once for all that need the same."""
    pieces = {_bounds(i): i for i in x.sharding.addressable_devices_indices_map(x.shape).values()}
    return {bounds: array[index].read() for bounds, index in pieces.items()}


@contextlib.contextmanager
def _reading(checkpoint: epath.Path, name: str) -> Iterator[None]:
    """Tells damage from a failure of the system, in what TensorStore raises."""
    try:
        yield
    except Exception as error:
        cause, word = system_error(error), re.match("(?:([A-Z_]+): )?", str(error))[1] or ""
        code = cause.errno if cause else None
        if code in ABSENT or (code is None and word == "NOT_FOUND"):
            raise DamageError(f"{name} is missing") from error
        if (
            code is None
            and word in WRONG
            and isinstance(error, (ValueError, IndexError, NotImplementedError))
        ):
            raise DamageError(f"{name} cannot be decoded") from error
        raise not_readable(checkpoint, reason(error)) from error


@contextlib.contextmanager
def _of_the_system(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_readable(path, reason(error)) from error


def not_readable(path: object, why: str) -> UserError:
    """What to raise where a file may be sound and the system does not give it."""
    return UserError(
        f"{path} cannot be read here ({why}); this is not damage, and nothing was moved. Remove what prevents it, then "
        "run the same command again."
    )
