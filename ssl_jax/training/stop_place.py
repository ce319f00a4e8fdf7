"""Where several hosts stop together, when a signal has reached one of them."""

import threading


class StopPlace:
    """The place of a loop at which all hosts leave it.

    Hosts run ahead of each other: one may have queued a step that another has not reached. So a signal makes every host
    say at which place it could stop, and all of them stop at the latest of these. The loop waits for this decision; the
    thread that talks with the other hosts makes it, so that a host which is waiting for a step of the others takes part
    as well.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._loop = self._turn = 0
        self._inside = self._deciding = False
        self._at: int | None = None
        self._signal: int | None = None

    def enter(self) -> None:
        """Begins a loop that calls `due` at the same places on all hosts."""
        with self._changed:
            self._loop, self._turn, self._inside = self._loop + 1, 0, True

    def leave(self) -> int | None:
        """Ends the loop. Returns the signal for which it should have stopped at a place that it did not reach."""
        with self._changed:
            self._wait()
            self._inside = False
            return self._signal if self._at is not None and self._turn < self._at else None

    def due(self) -> int | None:
        """The signal with which all hosts stop at this place; None to go on."""
        with self._changed:
            self._wait()
            self._turn += 1
            return self._signal if self._at is not None and self._turn >= self._at else None

    def hold(self, signal: int) -> tuple[int, int] | None:
        """Holds the loop for a decision. Returns (loop, next place), or None outside of a loop."""
        with self._changed:
            self._deciding, self._signal = True, signal
            return (self._loop, self._turn + 1) if self._inside else None

    def decide(self, place: int | None) -> bool:
        """Lets the loop go on to a place, where it stops. Returns False if there is none, so that all stop at once."""
        with self._changed:
            self._at = place
            self._release()
            return place is not None

    def release(self) -> None:
        """Lets the loop go on without a decision."""
        with self._changed:
            self._release()

    def _wait(self) -> None:
        while self._deciding:
            self._changed.wait()

    def _release(self) -> None:
        self._deciding = False
        self._changed.notify_all()
