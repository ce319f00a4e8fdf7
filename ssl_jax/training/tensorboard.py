"""TensorBoard: metrics of training and of every held-out set in one chart, speed, pictures, texts, hyperparameters."""

import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from etils import epath

from ssl_jax.training import tensorboard_events as events
from ssl_jax.training.changes import flatten
from ssl_jax.training.folder import EVENTS
from ssl_jax.training.growing import GrowingFile, GrowingObject, growing


class TensorBoard:
    """Writes events. TensorBoard draws files of different folders into one chart, so that each split has a folder."""

    def __init__(self, folder: epath.Path, step: int, settings: Mapping[str, Any]) -> None:
        """Begins the files of this process. UserError, here and later, if one cannot be written.

        Args:
          folder: of the run.
          step: number of finished steps; TensorBoard forgets later ones of older files.
          settings: of the run, as JSON.
        """
        self._folder, self._step = epath.Path(folder), step
        # Every sitting has its own files of events.
        self._name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._files: dict[str, GrowingFile | GrowingObject] = {}
        flat = flatten(settings)
        self._of("").append(events.hyperparameters(step, flat))
        rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in flat.items())
        self.text(step, "settings", f"| setting | value |\n|---|---|\n{rows}")

    def _of(self, split: str) -> GrowingFile | GrowingObject:
        """The file of a split; the empty name is that of what belongs to no split."""
        if split not in self._files:
            self._files[split] = growing(
                self._folder / EVENTS / split / self._name,
                self._folder
                / f".{EVENTS}{split}.part",  # not among the events, where TensorBoard would read it
                events.beginning(self._step + 1),
            )
        return self._files[split]

    def log(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """See `Tracker`."""
        self._of(split).append(events.scalars(step, values))

    def picture(self, step: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """See `Tracker`."""
        self._of("").append(events.picture(step, name, png, size))

    def text(self, step: int, name: str, text: str) -> None:
        """See `Tracker`."""
        self._of("").append(events.text(step, name, text))

    def flush(self) -> None:
        """See `Tracker`."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """See `Tracker`."""
        for file in self._files.values():
            file.close()


def _cell(value: Any) -> str:
    """A value in a table of Markdown, where a bar would end the cell."""
    return str(value).replace("|", r"\|")
