"""Files that are appended to, such as a log: local ones at once, objects on gs:// on a clock."""

import contextlib
import threading

from etils import epath

from ssl_jax import bucket
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole, writing

SENT_EVERY = 30.0
"""Seconds after which what was added is sent to Google Cloud Storage, if no checkpoint is saved before."""
SMALL = 2**18
"""Bytes of an object that is sent again as a whole, in one request, rather than in the three that `append` takes."""


class GrowingFile:
    """A local file that is appended to."""

    def __init__(self, file: epath.Path, content: bytes = b"") -> None:
        """Starts with `content` instead of what was there. UserError, here and later, if it cannot be written."""
        self._file = file
        write_whole(file, content)

    def append(self, content: bytes) -> None:
        """Adds to the end."""
        with writing(self._file), self._file.open("ab") as file:
            file.write(content)

    def flush(self) -> None:
        """Makes sure that the file holds all that was added."""

    def close(self) -> None:
        """Ends the writing."""


class GrowingObject:
    """The same on Google Cloud Storage. What was added is sent on a clock, by a thread, and at every `flush`.

    An object cannot be appended to, but two can be joined to one there. A run of days then sends each byte once, not
    the whole of its log every time.
    """

    def __init__(self, file: epath.Path, part: epath.Path, content: bytes = b"") -> None:
        """Starts with `content` instead of what was there. UserError, here and at `flush`, if it cannot be written.

        Args:
          file: the object.
          part: an object that holds what is added for a moment.
          content: that it starts with.
        """
        self._file, self._part = file, part
        self._content = bytearray(content)
        self._lock, self._sending, self._closed = threading.Lock(), threading.Lock(), threading.Event()
        with writing(file):
            self._generation = bucket.write(str(file), content)
        self._sent = len(content)
        self._thread = threading.Thread(target=self._send_on_a_clock, daemon=True)
        self._thread.start()

    def append(self, content: bytes) -> None:
        """Adds to the end."""
        with self._lock:
            self._content += content

    def flush(self) -> None:
        """Sends all that was added. UserError if it cannot be written."""
        with self._sending, writing(self._file):
            with self._lock:
                content = bytes(self._content)
            if len(content) == self._sent:
                return
            self._generation = self._send(content)
            self._sent = len(content)

    def _send(self, content: bytes) -> int:
        """Makes the object hold the content, whose first bytes it holds. Returns its generation."""
        if self._sent > SMALL:
            # It was changed: by another process, or by a request that was repeated after its answer was lost.
            with contextlib.suppress(FileExistsError):
                return bucket.append(
                    str(self._file), content[self._sent :], str(self._part), self._generation
                )
        return bucket.write(str(self._file), content)

    def _send_on_a_clock(self) -> None:
        while not self._closed.wait(SENT_EVERY):
            # A store that is not reached for a while does not end a run: the next flush tells.
            with contextlib.suppress(UserError):
                self.flush()

    def close(self) -> None:
        """Ends the writing. What was not sent, as after an error, is sent if that is possible."""
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(UserError):
            self.flush()


def growing(file: epath.Path, part: epath.Path, content: bytes = b"") -> GrowingFile | GrowingObject:
    """A file or an object that is appended to. For the arguments see `GrowingObject`."""
    return GrowingObject(file, part, content) if bucket.is_remote(file) else GrowingFile(file, content)
