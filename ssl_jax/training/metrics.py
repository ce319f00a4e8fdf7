"""The log of a run: metrics.jsonl, exact over interruptions, and the same figures for TensorBoard.

A line is {"step": s, figures..., "timing": {...}}, and for an evaluation {"step": s, "split": name, figures...}.
All but `timing` is a function of the configuration: a run that was killed and continued has the same lines as one
that was not.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorboardX
from etils import epath

from ssl_jax.method import Mean

FILE = "metrics.jsonl"
LABELS = {"step", "split", "timing"}
"""What a line holds besides figures."""


def read(folder: epath.Path) -> list[dict[str, Any]]:
    """The complete lines of a run's log; a last line cut short by a crash does not count."""
    file = epath.Path(folder) / FILE
    return list(_complete(file.read_text())) if file.exists() else []


def _complete(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def means(metrics: Mapping[str, Mean]) -> dict[str, float]:
    """Means of (sum, weight) pairs; a figure that nothing was weighed for is left out."""
    pairs = {name: (float(total), float(weight)) for name, (total, weight) in metrics.items()}
    return {name: float(np.float32(total / weight)) for name, (total, weight) in pairs.items() if weight > 0}


class MetricsLog:
    """Appends to a run's log. Lines after `step` belong to work that was lost, and are dropped when it is opened.

    Every process holds the lines; only the one with `writes` writes them.
    """

    def __init__(self, folder: epath.Path, step: int, *, writes: bool) -> None:
        self._file = epath.Path(folder) / FILE
        self.lines = [line for line in read(folder) if line["step"] <= step]
        self._writes, self._local = writes, "://" not in str(folder)
        if writes:
            self._write_all()
            board = epath.Path(folder) / "tensorboard"
            self._board = tensorboardX.SummaryWriter(str(board), purge_step=step + 1, flush_secs=30)

    def _write_all(self) -> None:
        draft = self._file.with_name(FILE + ".new")
        draft.write_text("".join(json.dumps(line) + "\n" for line in self.lines))
        draft.replace(self._file)

    def write(
        self, step: int, figures: Mapping[str, float], *, split: str | None = None, timing: Any = None
    ) -> None:
        """Adds a line. Object stores cannot append; there the file is written anew by `flush`."""
        line = {"step": step, **({"split": split} if split else {}), **figures}
        if timing:
            line["timing"] = timing
        self.lines.append(line)
        if not self._writes:
            return
        if self._local:
            with self._file.open("a") as file:
                file.write(json.dumps(line) + "\n")
        for name, value in figures.items():
            self._board.add_scalar(f"{split or 'train'}/{name}", value, step)

    def evaluated(self, step: int, split: str) -> bool:
        """Whether the log already holds this evaluation."""
        return any(line["step"] == step and line.get("split") == split for line in self.lines)

    def last(self, split: str) -> dict[str, float]:
        """Figures of the newest evaluation on a split; empty if there is none."""
        lines = [line for line in self.lines if line.get("split") == split]
        return {name: value for name, value in lines[-1].items() if name not in LABELS} if lines else {}

    def flush(self) -> None:
        """Called before every checkpoint, so that no checkpoint is ahead of its log."""
        if self._writes:
            if not self._local:
                self._write_all()
            self._board.flush()

    def close(self) -> None:
        """Flushes and closes."""
        self.flush()
        if self._writes:
            self._board.close()
