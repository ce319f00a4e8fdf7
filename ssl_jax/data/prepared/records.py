"""Files of records (ArrayRecord) with random access, and records made of arrays."""

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import TypedDict

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter
from etils import epath

from ssl_jax.bucket import is_remote, list_sizes
from ssl_jax.errors import UserError
from ssl_jax.files import whole

_WRITER = "group_size:1,zstd:1"
"""Each record can be read alone. zstd's first level takes a third off tokens, and 25 microseconds a row."""
_READER = "readahead_buffer_size:0,max_parallelism:0"
_BUFFER = 1 << 15  # bytes read at once
_BLOCK = 1 << 22


class RecordFile(TypedDict):
    """What is known of a file of records.

    Attributes:
      name: within its folder.
      records: their number.
      size: bytes.
      sha256: of the content, in hexadecimal.
    """

    name: str
    records: int
    size: int
    sha256: str


def encode(*arrays: np.ndarray) -> bytes:
    """A record of one-dimensional arrays; see `decode`."""
    parts = []
    for array in arrays:
        parts += [np.int64(len(array)).tobytes(), array.tobytes()]
    return b"".join(parts)


def decode(record: bytes, *dtypes: type) -> list[np.ndarray]:
    """The arrays of a record, without a copy.

    Args:
      record: of `encode`.
      *dtypes: types of the arrays.

    Example:
      >>> decode(encode(np.arange(3), np.array([7], np.uint16)), np.int64, np.uint16)
      [array([0, 1, 2]), array([7], dtype=uint16)]
    """
    arrays, place = [], 0
    for dtype in dtypes:
        length = int(np.frombuffer(record, np.int64, 1, place)[0])
        arrays.append(np.frombuffer(record, dtype, length, place + 8))
        place += 8 + arrays[-1].nbytes
    return arrays


def encode_blobs(blobs: Sequence[bytes]) -> bytes:
    """A record of byte strings; see `decode_blobs`."""
    return encode(np.array([len(blob) for blob in blobs], np.int64), np.frombuffer(b"".join(blobs), np.uint8))


def decode_blobs(record: bytes) -> list[bytes]:
    """The byte strings of a record of `encode_blobs`."""
    lengths, content = decode(record, np.int64, np.uint8)
    ends = np.cumsum(lengths)
    return [content[end - length : end].tobytes() for length, end in zip(lengths, ends, strict=True)]


def write_records(path: epath.Path, records: Iterable[bytes]) -> RecordFile:
    """Writes a file of records, whole or not at all. The same records give the same bytes.

    Raises:
      UserError: it cannot be written.
    """
    number = 0
    with whole(path) as draft:
        writer = ArrayRecordWriter(str(draft), _WRITER)
        for record in records:
            writer.write(record)
            number += 1
        writer.close()
        return {"name": path.name, "records": number, **_summed(draft)}


def is_intact(folder: epath.Path, file: RecordFile) -> bool:
    """Whether a file is there with the content that it was written with; all of it is read."""
    path = folder / file["name"]
    if not path.exists():
        return False
    found = _summed(path)
    return found == {"size": file["size"], "sha256": file["sha256"]}


def check_sizes(folder: epath.Path, files: Sequence[RecordFile], cure: str) -> None:
    """Checks that files have the sizes that they were written with, in one request on gs://.

    Args:
      folder, files: where they are and what they are.
      cure: what to do if one has not.

    Raises:
      UserError: a file is missing or has another size.
    """
    if is_remote(folder):
        sizes = list_sizes(str(folder))
    else:
        sizes = {path.name: path.stat().length for path in folder.iterdir()}
    for file in files:
        if (size := sizes.get(file["name"])) != file["size"]:
            found = "is missing" if size is None else f"has {size:,} bytes, not {file['size']:,}"
            raise UserError(f"{folder / file['name']}: {found}. {cure}")


def _summed(path: epath.Path) -> dict[str, int | str]:
    size, digest = 0, hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            size += len(block)
            digest.update(block)
    return {"size": size, "sha256": digest.hexdigest()}


class Records:
    """The records of several files, numbered through. A file is opened when it is first read.

    Several threads may read at once.

    Args:
      folder: of the files; local or gs://, which is read by ranges.
      files: their descriptions.
      cure: what to do if one is damaged, for messages.
    """

    def __init__(self, folder: epath.Path, files: Sequence[RecordFile], cure: str):
        self._paths, self._cure = [folder / file["name"] for file in files], cure
        self._ends = np.cumsum([0, *(file["records"] for file in files)])
        self._open()

    def _open(self) -> None:
        self._readers: list[ArrayRecordReader | None] = [None] * len(self._paths)
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[list[epath.Path], str, np.ndarray]:
        return self._paths, self._cure, self._ends

    def __setstate__(self, state: tuple[list[epath.Path], str, np.ndarray]) -> None:
        self._paths, self._cure, self._ends = state
        self._open()

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> bytes:
        return self.range(index, index + 1)[0]

    def range(self, start: int, stop: int) -> list[bytes]:
        """The records `start` to `stop` (exclusive), which must be in one file.

        Raises:
          UserError: the file is missing or damaged.
        """
        if start == stop:
            return []
        file = int(np.searchsorted(self._ends, start, side="right")) - 1
        first = int(self._ends[file])
        try:
            return self._reader(file).read(start - first, stop - first)
        except (RuntimeError, ValueError, IndexError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self._paths[file]}: missing or damaged ({reason:.200}). {self._cure}"
            ) from error

    def _reader(self, file: int) -> ArrayRecordReader:
        with self._lock:
            if self._readers[file] is None:
                path = str(self._paths[file])
                self._readers[file] = ArrayRecordReader(path, _READER, file_reader_buffer_size=_BUFFER)
            return self._readers[file]
