"""Processes that read and decode images for this one, and do not wait for its lock.

A process that `multiprocessing` spawns imports the whole program that runs, and outlives it if it is killed. These
import what reads images alone, and end when their input does.
"""

import os
import pickle
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import numpy as np

from ssl_jax.data.image_source import Example, ImageSource, read_images
from ssl_jax.errors import UserError

_ROOT = Path(__file__).parents[2]


class ImageWorkers:
    """Reads images of a source by other processes, which are started when they are needed.

    Several threads may read at once; each waits for a process of its own.

    Args:
      source: of the images.
      count: of the processes, at most.
    """

    def __init__(self, source: ImageSource, count: int) -> None:
        self._source = pickle.dumps(source)
        self._idle: list[subprocess.Popen[bytes]] = []
        self._all: list[subprocess.Popen[bytes]] = []
        self._free = threading.Semaphore(count)
        weakref.finalize(self, _end, self._all)

    def read(self, rows: np.ndarray) -> Example:
        """Some images, stacked, as `read_images` gives them.

        Raises:
          UserError: an image cannot be read, or the process has ended.
        """
        with self._free:
            try:
                worker, before = self._idle.pop(), b""
            except IndexError:
                worker, before = self._start(), self._source
            answer = _ask(worker, before, pickle.dumps(rows))
            self._idle.append(worker)
        if isinstance(answer, UserError):
            raise answer
        return answer

    def _start(self) -> "subprocess.Popen[bytes]":
        paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        worker = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,  # Ctrl-C is for the process that trains, which then ends these
        )
        self._all.append(worker)
        return worker


def _ask(worker: "subprocess.Popen[bytes]", *parts: bytes) -> Example | UserError:
    try:
        worker.stdin.writelines(parts)
        worker.stdin.flush()
        return pickle.load(worker.stdout)
    except (OSError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"a process that reads images ended with code {worker.wait()}, perhaps because memory ran out; what it "
            "printed is above. Give fewer with --data.processes, or 0."
        ) from error


def _end(workers: "list[subprocess.Popen[bytes]]") -> None:
    for worker in workers:
        worker.kill()
        worker.communicate()


def serve() -> None:
    """Reads a source from the standard input, then rows until it ends, and writes their images to the output."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # of whatever a library prints
    source = pickle.load(asked)
    while True:
        try:
            rows = pickle.load(asked)
        except EOFError:
            return
        try:
            found = read_images(source, rows)
        except UserError as error:
            found = error
        pickle.dump(found, answers, protocol=pickle.HIGHEST_PROTOCOL)
        answers.flush()
