"""The log of a run: metrics.jsonl, exact over interruptions, and the same metrics for trackers such as TensorBoard.

A line is {"step": s, metrics..., "timing": {...}}, and for an evaluation {"step": s, "split": name, metrics...}.
All but `timing` is a function of the configuration: a run that was killed and continued has the same lines as one
that was not.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.method import Mean
from ssl_jax.training.folder import LOG
from ssl_jax.training.growing import growing
from ssl_jax.training.trackers import NewFiles, Tracker

LABELS = {"step", "split", "timing"}
"""What a line holds besides metrics."""
LISTED = 6
"""Lines that a message names one by one."""

Line = dict[str, Any]


def read(folder: epath.Path) -> list[Line]:
    """The complete lines of a run's log; a last line cut short by a crash does not count.

    Raises:
      UserError: the log cannot be read, or a line is damaged; the message names it.
    """
    file = epath.Path(folder) / LOG
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror or error}).") from error
    return [_line(text, f"{file} line {number}") for number, text in enumerate(content.split(b"\n")[:-1], 1)]


def _line(text: bytes, place: str) -> Line:
    """A line of the log. A log may have a hundred thousand: the checks of its types are written out."""
    try:
        line = json.loads(text.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, nested too deeply
        raise _damaged(place, f"not JSON ({error})") from None
    if type(line) is not dict:
        raise _damaged(place, "not an object")
    if type(line.get("step")) is not int or line["step"] < 0:
        raise _damaged(place, "step is not the number of a step")
    if type(line.get("split", "")) is not str:
        raise _damaged(place, "split is not a name")
    timing = line.get("timing", {})
    if type(timing) is not dict:
        raise _damaged(place, "timing is not an object")
    for name, value in (*line.items(), *timing.items()):
        if type(value) not in (float, int) and name not in ("split", "timing"):
            raise _damaged(place, f"{name} is not a number")
    return line


def _damaged(place: str, what: str) -> UserError:
    return UserError(
        f"{place}: {what}. Bring back the file as it was written, or remove the line: a run that is continued says "
        "which lines its log lacks, and goes on."
    )


def irregular(lines: Sequence[Line], promised: Iterable[tuple[int, str | None]]) -> str | None:
    """What is wrong with the lines of a log, in words; None if nothing is.

    Args:
      lines: of the log.
      promised: (step, split) of every line that it must hold once; the split is None for a line of training.
    """
    found = Counter((line["step"], line.get("split")) for line in lines)
    lacking = [line for line in dict.fromkeys(promised) if line not in found]
    twice = [line for line, number in found.items() if number > 1]
    parts = [f"it lacks {_lines(lacking)}"] if lacking else []
    parts += [f"it holds more than once {_lines(twice)}"] if twice else []
    return "; ".join(parts) or None


def _lines(lines: Sequence[tuple[int, str | None]]) -> str:
    """(20, None), (40, "heldout") -> "step 20, step 40 (heldout)"."""
    names = [f"step {step}{f' ({split})' if split else ''}" for step, split in lines]
    if len(names) > LISTED:
        names = [*names[: LISTED - 1], "...", f"{names[-1]} ({len(names)} lines)"]
    return ", ".join(names)


def means(metrics: Mapping[str, Mean]) -> dict[str, float]:
    """The value of every mean; one whose weight is 0 has no value and is left out."""
    pairs = {name: (float(total), float(weight)) for name, (total, weight) in metrics.items()}
    return {name: float(np.float32(total / weight)) for name, (total, weight) in pairs.items() if weight > 0}


class MetricsLog:
    """Appends to a run's log. Lines after `step` belong to work that was lost, and are dropped when it is opened.

    Every process holds the lines; only the one with `writes` writes them, and has the trackers.
    """

    def __init__(
        self, folder: epath.Path, step: int, *, writes: bool, trackers: Sequence[Tracker] = ()
    ) -> None:
        self._trackers = list(trackers)
        self.lines = [line for line in read(folder) if line["step"] <= step]
        self._writes = writes
        if writes:
            folder = epath.Path(folder)
            self._jsonl = growing(folder / LOG, folder / f".{LOG}.part", b"".join(map(_jsonl, self.lines)))
            self._files = NewFiles(folder)

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
        speed = {f"speed/{name}": value for name, value in (timing or {}).items() if name != "seconds"}
        for tracker in self._trackers:
            tracker.log(step, split or "train", {**metrics, **speed})

    def show_files(self, step: int) -> None:
        """Gives the trackers the pictures and texts that the run has written since the last call."""
        if self._writes:
            self._files.show(self._trackers, step)

    def evaluated(self, step: int, split: str) -> bool:
        """Whether the log already holds this evaluation."""
        return any(line["step"] == step and line.get("split") == split for line in self.lines)

    def last(self, split: str, step: int) -> dict[str, float]:
        """Metrics of the newest evaluation on a split up to a step; empty if there is none."""
        lines = [line for line in self.lines if line.get("split") == split and line["step"] <= step]
        return {name: value for name, value in lines[-1].items() if name not in LABELS} if lines else {}

    def flush(self) -> None:
        """Called before every checkpoint, so that no checkpoint is ahead of its log."""
        if self._writes:
            self._jsonl.flush()
            for tracker in self._trackers:
                tracker.flush()

    def close(self) -> None:
        """Ends the writing."""
        if self._writes:
            self._jsonl.close()
            for tracker in self._trackers:
                tracker.close()


def _jsonl(line: Mapping[str, Any]) -> bytes:
    return json.dumps(line).encode() + b"\n"
