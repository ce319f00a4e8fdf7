"""The log of a run: metrics.jsonl, exact over interruptions, and the same metrics for TensorBoard.

A line is {"step": s, metrics..., "timing": {...}}, and for an evaluation {"step": s, "split": name, metrics...}.
All but `timing` is a function of the configuration: a run that was killed and continued has the same lines as one
that was not.
"""

import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from etils import epath
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar

from ssl_jax.method import Mean
from ssl_jax.training.folder import writing

FILE = "metrics.jsonl"
LABELS = {"step", "split", "timing"}
"""What a line holds besides metrics."""


def read(folder: epath.Path) -> list[dict[str, Any]]:
    """The complete lines of a run's log; a last line cut short by a crash does not count."""
    file = epath.Path(folder) / FILE
    return list(_complete(file.read_text())) if file.exists() else []


def _complete(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def means(metrics: Mapping[str, Mean]) -> dict[str, float]:
    """The value of every mean; one whose weight is 0 has no value and is left out."""
    pairs = {name: (float(total), float(weight)) for name, (total, weight) in metrics.items()}
    return {name: float(np.float32(total / weight)) for name, (total, weight) in pairs.items() if weight > 0}


class GrowingFile:
    """A file that is appended to. Object stores cannot append; there `flush` writes it anew."""

    def __init__(self, file: epath.Path, content: bytes = b"") -> None:
        """Starts with `content` instead of what was there. UserError, here and later, if it cannot be written."""
        self._file, self._local, self._content = file, "://" not in str(file), content
        with writing(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            draft = file.with_name(file.name + ".new")
            draft.write_bytes(content)
            draft.replace(file)

    def append(self, content: bytes) -> None:
        """Adds to the end."""
        if not self._local:
            self._content += content
            return
        with writing(self._file), self._file.open("ab") as file:
            file.write(content)

    def flush(self) -> None:
        """Makes sure that the file holds all that was added."""
        if not self._local:
            self._file.write_bytes(self._content)


class MetricsLog:
    """Appends to a run's log. Lines after `step` belong to work that was lost, and are dropped when it is opened.

    Every process holds the lines; only the one with `writes` writes them.
    """

    def __init__(self, folder: epath.Path, step: int, *, writes: bool) -> None:
        self.lines = [line for line in read(folder) if line["step"] <= step]
        self._writes = writes
        if writes:
            folder = epath.Path(folder)
            self._jsonl = GrowingFile(folder / FILE, b"".join(map(_jsonl, self.lines)))
            # Every sitting has its own file of events; the session's start tells TensorBoard what it replaces.
            name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
            start = Event(step=step + 1, session_log=SessionLog(status=SessionLog.START))
            self._events = GrowingFile(
                folder / "tensorboard" / name, _record(Event(file_version="brain.Event:2")) + _record(start)
            )

    def write(
        self, step: int, metrics: Mapping[str, float], *, split: str | None = None, timing: Any = None
    ) -> None:
        """Adds a line. UserError if it cannot be written."""
        line = {"step": step, **({"split": split} if split else {}), **metrics}
        if timing:
            line["timing"] = timing
        self.lines.append(line)
        if not self._writes:
            return
        self._jsonl.append(_jsonl(line))
        summaries = [scalar(f"{split or 'train'}/{name}", value) for name, value in metrics.items()]
        self._events.append(b"".join(_record(Event(step=step, summary=summary)) for summary in summaries))

    def evaluated(self, step: int, split: str) -> bool:
        """Whether the log already holds this evaluation."""
        return any(line["step"] == step and line.get("split") == split for line in self.lines)

    def last(self, split: str) -> dict[str, float]:
        """Metrics of the newest evaluation on a split; empty if there is none."""
        lines = [line for line in self.lines if line.get("split") == split]
        return {name: value for name, value in lines[-1].items() if name not in LABELS} if lines else {}

    def flush(self) -> None:
        """Called before every checkpoint, so that no checkpoint is ahead of its log."""
        if self._writes:
            self._jsonl.flush()
            self._events.flush()


def _jsonl(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"


def _record(event: Event) -> bytes:
    """An event as a TFRecord, which is how TensorBoard reads them."""
    event.wall_time = time.time()
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(data)) for data in (length, content))
    return length + next(checks) + content + next(checks)
