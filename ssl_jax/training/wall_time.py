"""Where the time of a run goes: wall_time.json, an entry for each process that has worked on the run."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NotRequired, TypedDict

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json
from ssl_jax.training.folder import WALL_TIME

Activity = Literal["start_up", "compile", "data_wait", "step", "evaluation", "checkpoint", "report"]


class Sitting(TypedDict):
    """What one process has done.

    Attributes:
      started: date and time (UTC) at which `loop.train` was called.
      first_step: finished steps when it began.
      last_step: finished steps at the last entry.
      steps: of the whole run.
      seconds: by activity; they add up to the time since `started`. `start_up` is the data and the state of the model;
        imports come before it. `step` is what remains of training without compilation and without waiting for data.
        `evaluation` and `report` include what they compile.
      ended: "finished", "stopped" by a signal, or the error. Without it the process still works, or was killed.
    """

    started: str
    first_step: int
    last_step: int
    steps: int
    seconds: dict[str, float]
    ended: NotRequired[str]


def read_wall_time(folder: epath.Path) -> list[Sitting]:
    """The entries of a run, [] if it has none. Raises UserError if the file is damaged."""
    file = epath.Path(folder) / WALL_TIME
    return read_json(file, list[Sitting]) if file.exists() else []


class WallTime:
    """Measures the sitting of this process: every moment belongs to exactly one activity, at first to `start_up`."""

    def __init__(self) -> None:
        self._started = datetime.now(UTC)
        self._activity: Activity = "start_up"
        self._since = time.perf_counter()
        self._seconds: dict[str, float] = {}
        self._file: epath.Path | None = None

    @contextlib.contextmanager
    def of(self, activity: Activity) -> Iterator[None]:
        """While the block runs, the time belongs to this activity; within it, to that of an inner block."""
        before = self._activity
        self._switch(activity)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, activity: Activity) -> None:
        now = time.perf_counter()
        self._seconds[self._activity] = self._seconds.get(self._activity, 0.0) + now - self._since
        self._activity, self._since = activity, now

    def begin(self, folder: epath.Path, step: int, steps: int, *, writes: bool) -> None:
        """From now on `write` adds this sitting to those of the run. A damaged file is begun anew.

        Args:
          folder: of the run.
          step: number of finished steps.
          steps: of the whole run.
          writes: whether this process is the one that writes files.
        """
        self._first_step, self._steps = step, steps
        if not writes:
            return
        try:
            self._before: list[Any] = read_wall_time(folder)
        except UserError:  # nobody's training should end for it
            self._before = []
        self._file = epath.Path(folder) / WALL_TIME

    def write(self, step: int, ended: str | None = None) -> None:
        """Writes what is known up to now. UserError if it cannot be written.

        Args:
          step: number of finished steps.
          ended: how the work ended; None while it goes on.
        """
        if self._file is None:
            return
        self._switch(self._activity)
        sitting = Sitting(
            started=self._started.isoformat(timespec="seconds"),
            first_step=self._first_step,
            last_step=step,
            steps=self._steps,
            seconds={name: round(seconds, 3) for name, seconds in self._seconds.items()},
        )
        if ended:
            sitting["ended"] = ended
        write_json(self._file, [*self._before, sitting])
