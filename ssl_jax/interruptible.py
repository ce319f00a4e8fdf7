"""Long calls into libraries, such as a compiler, that a signal can end at once."""

import threading
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

LOOKED_EVERY = 0.1
"""Seconds between two looks at whether to leave the work alone."""

_left: list[threading.Event] = []
"""Of each work that was left alone: whether it has ended."""


class LeftAloneError(Exception):
    """The work was left alone, as it was asked for; it may go on in its thread until the process ends."""


def interruptibly(work: Callable[[], Result], leave: Callable[[], bool] = lambda: False) -> Result:
    """The result of a call that may take minutes without returning to Python.

    Python runs the handler of a signal in the main thread, between two of its own instructions. So the work is done in
    another thread, and the main one waits for it: a handler that raises is heard at once. The process should end then,
    with `work_goes_on`.

    Args:
      work: what is done; its errors are raised here.
      leave: asked again and again; whether to leave the work alone.

    Raises:
      LeftAloneError: `leave` returned True.
    """
    if threading.current_thread() is not threading.main_thread():
        return work()
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            ended.set()

    # Not `Thread.join`: where a signal interrupts it, the thread counts as ended.
    ended = threading.Event()
    threading.Thread(target=run, daemon=True).start()
    try:
        while not ended.wait(LOOKED_EVERY):
            if leave():
                raise LeftAloneError
    finally:
        if not ended.is_set():
            _left.append(ended)
    if errors:
        raise errors[0]
    return results[0]


def work_goes_on() -> bool:
    """Whether work that was left alone goes on, so that the interpreter could not end in good order."""
    return any(not ended.is_set() for ended in _left)
