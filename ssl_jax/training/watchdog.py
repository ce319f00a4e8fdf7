"""Shows what a process is doing when a step takes far longer than the steps before it."""

import contextlib
import faulthandler
import statistics
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator

import jax

FACTOR = 20
"""Times the median of the steps before."""
LEAST = 30.0
"""Seconds below which no step is worth a message: a machine may be busy for a moment."""
REMEMBERED = 101
"""Steps of which the median is taken."""
STDERR = 2
"""Its descriptor, since `sys.stderr` may be something else than a file."""


class Watchdog:
    """Writes the stacks of all threads to stderr, once, when a step takes `FACTOR` times the median.

    They say whether a run that seems to hang waits for data, for another host, or for the file system.
    """

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)
        self._now: tuple[int, float] | None = None  # the step, and when it began
        self._ended = threading.Event()

    def __enter__(self) -> "Watchdog":
        self._thread = threading.get_ident()
        threading.Thread(target=self._watch, daemon=True, name="watchdog").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @contextlib.contextmanager
    def step(self, number: int) -> Iterator[None]:
        """A step of training. What lies between steps, such as an evaluation, is not watched."""
        self._now = number, time.monotonic()
        try:
            yield
        finally:
            now, self._now = self._now, None
        self._seconds.append(time.monotonic() - now[1])

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What takes long within a step for a known reason, such as a compilation: no time of the step."""
        (number, began), self._now = self._now, None
        started = time.monotonic()
        try:
            yield
        finally:
            self._now = number, began + time.monotonic() - started

    def _watch(self) -> None:
        told = None
        while not self._ended.wait(LEAST / 10):
            now = self._now
            if now is None or now == told or not self._seconds:
                continue
            taken, usual = time.monotonic() - now[1], statistics.median(list(self._seconds))
            if taken > max(LEAST, FACTOR * usual):
                told = now
                # The thread of the step comes first, because faulthandler leaves out all threads after a hundred.
                stack = traceback.format_stack(sys._current_frames().get(self._thread))
                print(
                    f"step {now[0]} has taken {taken:.0f} s on host {jax.process_index()}; the median step takes "
                    f"{usual:.3g} s. The run goes on waiting. Where it is:\n{''.join(stack)}\nAll threads:",
                    file=sys.stderr,
                    flush=True,
                )
                faulthandler.dump_traceback(STDERR)
