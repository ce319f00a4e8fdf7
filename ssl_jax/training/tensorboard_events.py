"""Metrics as events for TensorBoard, in bytes. Importing this takes a tenth of a second; only what writes them does."""

import struct
import time
from collections.abc import Mapping

from tensorboardX import summary
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c


def beginning(step: int) -> bytes:
    """The events that a file begins with; the session's start tells TensorBoard what the file replaces.

    Args:
      step: the first one of the file.
    """
    start = Event(step=step, session_log=SessionLog(status=SessionLog.START))
    return _record(Event(file_version="brain.Event:2")) + _record(start)


def scalars(step: int, values: Mapping[str, float]) -> bytes:
    """An event for each value, by its name."""
    found = (summary.scalar(name, value) for name, value in values.items())
    return b"".join(_record(Event(step=step, summary=one)) for one in found)


def picture(step: int, name: str, png: bytes, size: tuple[int, int]) -> bytes:
    """An event of a picture, `size` its width and height in pixels."""
    image = Summary.Image(width=size[0], height=size[1], colorspace=4, encoded_image_string=png)
    return _record(Event(step=step, summary=Summary(value=[Summary.Value(tag=name, image=image)])))


def text(step: int, name: str, content: str) -> bytes:
    """An event of a text, which TensorBoard shows as Markdown."""
    return _record(Event(step=step, summary=summary.text(name, content)))


def hyperparameters(step: int, values: Mapping[str, object]) -> bytes:
    """An event of the settings of a run, for TensorBoard's table of runs; it finds the metrics by itself."""
    known = {name: v if isinstance(v, bool | int | float | str) else str(v) for name, v in values.items()}
    _, session, _ = summary.hparams(known, {})
    return _record(Event(step=step, summary=session))


def _record(event: Event) -> bytes:
    """An event as a TFRecord, which is how TensorBoard reads them."""
    event.wall_time = time.time()
    content = event.SerializeToString()
    length = struct.pack("<Q", len(content))
    checks = (struct.pack("<I", masked_crc32c(data)) for data in (length, content))
    return length + next(checks) + content + next(checks)
