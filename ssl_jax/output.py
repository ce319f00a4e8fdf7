"""Output that may be lost: a command goes on when its terminal, its reader or its disk is gone."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO


class Enduring:
    """A stream of text whose failures end nothing: what cannot be written any more is dropped.

    A character that the stream's encoding does not have is written as its escape, such as \\u2192.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes text, or drops it."""
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            known = text.encode(self._stream.encoding, "backslashreplace").decode(self._stream.encoding)
            return self.write(known)
        except (OSError, ValueError) as error:  # a ValueError says that the stream is closed
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Writes what is waiting, or drops it."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Sends what follows, and what waits in the buffer for the end of the process, to nowhere."""
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
        # A reader such as `head` has closed the pipe because it wanted no more.
        if isinstance(error, OSError) and error.errno != errno.EPIPE and sys.stderr is not self:
            print(
                f"the output cannot be written any more ({error.strerror}); the command goes on",
                file=sys.stderr,
            )


@contextlib.contextmanager
def enduring_output() -> Iterator[None]:
    """While the block runs, no failure of stdout or stderr ends anything, and both exist."""
    for descriptor in range(3):
        _ensure_open(descriptor)
    before = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nowhere:
        sys.stdout, sys.stderr = (Enduring(stream or nowhere) for stream in before)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            sys.stdout, sys.stderr = before


def _ensure_open(descriptor: int) -> None:
    """Opens a descriptor that the shell has closed (`>&-`): else the next file opened would get what is printed."""
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
