"""How a command names a run: RUN for its newest checkpoint, RUN@STEP for another."""

import re
from dataclasses import dataclass

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.training.checkpoints import Checkpoints


@dataclass(frozen=True)
class RunReference:
    """A run folder, and which of its checkpoints is meant.

    Attributes:
      folder: of the run; where imported weights are accepted, their folder.
      step: of the checkpoint; None for the newest.
    """

    folder: epath.Path
    step: int | None = None

    @classmethod
    def parse(cls, text: str) -> "RunReference":
        """The reference that a user wrote: RUN or RUN@STEP, local (`~` is the home folder) or gs://.

        A folder of exactly this name comes first, so that a run in `runs/x@40` is found as it is written. An "@" that
        no number follows belongs to the name.
        """
        whole = epath.Path(text).expanduser()
        named = re.fullmatch(r"(.+)@([0-9]+)", text, re.DOTALL)
        if named is None or whole.exists():
            return cls(whole)
        return cls(epath.Path(named[1]).expanduser(), int(named[2]))

    def __str__(self) -> str:
        return str(self.folder) if self.step is None else f"{self.folder}@{self.step}"


def choose_step(checkpoints: Checkpoints, reference: RunReference) -> int:
    """The step of the checkpoint that a reference means.

    Raises:
      UserError: the run has no checkpoint, or none of this step; those that it has are listed.
    """
    steps = checkpoints.steps()
    if not steps:
        raise UserError(
            f"{reference.folder}: has no complete checkpoint; a run saves its first one after train.save_every steps."
        )
    if reference.step is None:
        return steps[-1]
    if reference.step not in steps:
        listed = ", ".join(map(str, steps))
        raise UserError(
            f"{reference.folder}: has no checkpoint of step {reference.step}; there are {listed}."
        )
    return reference.step
