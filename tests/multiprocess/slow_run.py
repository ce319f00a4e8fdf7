"""A run that takes its time where a test wants to disturb it, and that fails where a test wants it to.

The environment says so, and not its configuration, so that the same run can be continued undisturbed.
"""

import errno
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grain
import jax
from etils import epath

from ssl_jax.cli import main
from ssl_jax.errors import UserError
from ssl_jax.recipes.base import RunConfig, make_experiment, one_phase
from ssl_jax.training.experiment import Data, Experiment, Report, TrainConfig
from ssl_jax.training.schedules import ScheduleConfig
from tests.training import toys

VARIABLE = "DISTURBANCE"
"""Of the environment: a `Disturbance` in JSON."""


@dataclass(frozen=True)
class Disturbance:
    """What is slow, and what fails.

    Attributes:
      marks: a folder; a file in it says that the run has come to a place: failure, training, evaluation, report.
      row: seconds that an example of the training data takes, on every host.
      heldout_row: seconds that a held-out example takes.
      report: seconds that the report takes host 0.
      failing_host: its number.
      failure: "disk", a file that cannot be written; "mistake", a UserError; "fault", a bug, in the midst of training.
    """

    marks: str
    row: float = 0.0
    heldout_row: float = 0.0
    report: float = 0.0
    failing_host: int = -1
    failure: str = ""


@dataclass(frozen=True)
class Config(RunConfig):
    """Noisy regression."""

    steps: int = 40
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(batch_size=16, log_every=1, eval_every=20, save_every=10)
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(warmup_steps=0))


PRESETS = {"slow": Config()}


class Rows:
    """Examples that take their time. The first one leaves a mark, for whoever waits for it."""

    def __init__(self, count: int, seconds: float, mark: Path, sound: int = sys.maxsize) -> None:
        self.count, self.seconds, self.mark, self.sound = count, seconds, mark, sound

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= self.sound:
            raise ValueError("a bug in the data")
        if not self.mark.exists():
            self.mark.touch()
        time.sleep(self.seconds)
        return toys.example(index)


def build(config: Config) -> Experiment:
    """The toys' method, and data that take their time."""
    given = Disturbance(**json.loads(os.environ[VARIABLE]))
    marks = Path(given.marks)

    def open_data(folder: epath.Path) -> Data:
        failure = given.failure if jax.process_index() == given.failing_host else ""
        if failure:
            (marks / "failure").touch()
        if failure == "disk":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/cache")
        if failure == "mistake":
            raise UserError("corpus.txt: no such file.")
        rows = Rows(1000, given.row, marks / "training", 100 if failure == "fault" else 1000)
        heldout = Rows(320, given.heldout_row, marks / "evaluation")
        return Data(
            train=(grain.MapDataset.source(rows).repeat(),),
            heldout=({"heldout": grain.MapDataset.source(heldout)},),
            identity={},
        )

    def report(shown: Report) -> None:
        if shown.writes:
            (marks / "report").touch()
            time.sleep(given.report)

    return make_experiment(
        config,
        toys.noisy_regression(),
        phases=one_phase(config, toys.shapes(config.train.batch_size), "examples"),
        open_data=open_data,
        report=report,
    )


if __name__ == "__main__":
    main(PRESETS, build)
