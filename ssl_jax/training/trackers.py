"""Where a run is shown besides its own metrics.jsonl: TensorBoard always, others where they are asked for.

A tracker of your own is a class with the methods of `Tracker`, given to `loop.train(..., trackers=[...])`.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from etils import epath
from PIL import Image

from ssl_jax.files import is_draft

PLACES = ("plots", "samples")
"""Folders of a run folder whose pictures and texts are shown."""
STEP = re.compile(r"step-\d+-?")
"""The part of a file's name that the step of the tracker stands for."""


class Tracker(Protocol):
    """What shows a run. Only process 0 has trackers; a `UserError` that one raises ends the run."""

    def log(self, step: int, split: str, values: Mapping[str, float]) -> None:
        """Shows metrics of a step; the split is "train" or the name of a held-out set."""

    def picture(self, step: int, name: str, png: bytes, size: tuple[int, int]) -> None:
        """Shows a picture (PNG; width and height in pixels) that the run has drawn."""

    def text(self, step: int, name: str, text: str) -> None:
        """Shows a text that the run has written, such as samples."""

    def flush(self) -> None:
        """Called before every checkpoint."""

    def close(self) -> None:
        """Called once, at the end."""


MakeTracker = Callable[[epath.Path, Mapping[str, Any]], Tracker]
"""`(run folder, settings of the run as JSON) -> tracker`."""


class NewFiles:
    """The pictures and texts that a run has made since they were last asked for; at first, since this was made."""

    def __init__(self, folder: epath.Path) -> None:
        self._folder = epath.Path(folder)
        self._known = dict(self._files())

    def _files(self) -> Iterator[tuple[epath.Path, float]]:
        for place in PLACES:
            if (self._folder / place).is_dir():
                for path in (self._folder / place).iterdir():
                    if path.suffix in (".png", ".txt") and not is_draft(path):
                        yield path, path.stat().mtime

    def show(self, trackers: list[Tracker], step: int) -> None:
        """Shows what is new, by PLACE/NAME without the step, so that the steps of a sample are one series."""
        for path, changed in sorted(self._files()):
            if self._known.get(path) == changed:
                continue
            self._known[path] = changed
            name = f"{path.parent.name}/{STEP.sub('', path.stem) or 'step'}"
            content = path.read_bytes()
            for tracker in trackers:
                if path.suffix == ".png":
                    tracker.picture(step, name, content, Image.open(io.BytesIO(content)).size)
                else:
                    tracker.text(step, name, content.decode(errors="replace"))
