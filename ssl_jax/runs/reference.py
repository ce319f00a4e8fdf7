"""How a command names a run: RUN for its newest checkpoint, RUN@STEP for another, RUN@best for the best one."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import read_json
from ssl_jax.runs.configuration import restore_config
from ssl_jax.training import metrics
from ssl_jax.training.best import Criterion
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.experiment import TrainConfig
from ssl_jax.training.folder import CONFIG

BEST = "best"


@dataclass(frozen=True)
class RunReference:
    """A run folder, and which of its checkpoints is meant.

    Attributes:
      folder: of the run; where imported weights are accepted, their folder.
      step: of the checkpoint; None for the newest; "best" for the best by the run's own train.best_metric.
    """

    folder: epath.Path
    step: int | str | None = None

    @classmethod
    def parse(cls, text: str) -> "RunReference":
        """The reference that a user wrote: RUN, RUN@STEP or RUN@best, local (`~` is the home folder) or gs://.

        A folder of exactly this name comes first, so that a run in `runs/x@40` is found as it is written. An "@" that
        neither a number nor "best" follows belongs to the name.
        """
        whole = epath.Path(text).expanduser()
        named = re.fullmatch(rf"(.+)@([0-9]+|{BEST})", text, re.DOTALL)
        if named is None or whole.exists():
            return cls(whole)
        return cls(epath.Path(named[1]).expanduser(), named[2] if named[2] == BEST else int(named[2]))

    def __str__(self) -> str:
        return str(self.folder) if self.step is None else f"{self.folder}@{self.step}"


def choose_step(checkpoints: Checkpoints, reference: RunReference) -> int:
    """The step of the checkpoint that a reference means.

    Raises:
      UserError: the run has no checkpoint, or none of this step (those that it has are listed), or none is the best.
    """
    steps = checkpoints.steps()
    if not steps:
        raise UserError(
            f"{reference.folder}: has no complete checkpoint; a run saves its first one after train.save_every steps."
        )
    if reference.step is None:
        return steps[-1]
    if reference.step == BEST:
        return _best_step(reference.folder, steps)
    if reference.step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(
            f"{reference.folder}: has no checkpoint of step {reference.step}; there are {listed}."
        )
    return reference.step


def _best_step(folder: epath.Path, steps: Sequence[int]) -> int:
    """The best of the checkpoints that are there. UserError if the run has no metric to tell by, or no value of it."""
    file = folder / CONFIG
    config = read_json(file, dict[str, Any]).get("config")
    train = config.get("train") if isinstance(config, dict) else None
    criterion = (
        Criterion.of(restore_config(TrainConfig(), train, file)) if isinstance(train, dict) else Criterion()
    )
    listed = ", ".join(map(str, steps))
    if not criterion.metric:
        raise UserError(
            f"{folder}@{BEST}: the run was trained without --train.best_metric, so that none of its checkpoints is the "
            f"best; name a step, of {listed}."
        )
    best = criterion.best(metrics.read(folder), steps)
    if best is None:
        raise UserError(
            f"{folder}@{BEST}: no checkpoint has a finite {criterion} in the log; name a step, of {listed}."
        )
    return best
