"""Metrics as events for TensorBoard, in bytes. Importing this takes a tenth of a second; only what writes them does."""

import struct
import time
from collections.abc import Mapping

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import scalar


def beginning(step: int) -> bytes:
    """The events that a file begins with; the session's start tells TensorBoard what the file replaces.

    Args:
      step: the first one of the file.
    """
    start = Event(step=step, session_log=SessionLog(status=SessionLog.START))
    return _record(Event(file_version="brain.Event:2")) + _record(start)


def scalars(step: int, values: Mapping[str, float]) -> bytes:
    """An event for each value, by its name."""
    summaries = (scalar(name, value) for name, value in values.items())
    return b"".join(_record(Event(step=step, summary=summary)) for summary in summaries)


def _record(event: Event) -> bytes:
    """An event as a TFRecord, which is how TensorBoard reads them."""
    event.wall_time = time.time()
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(data)) for data in (length, content))
    return length + next(checks) + content + next(checks)
