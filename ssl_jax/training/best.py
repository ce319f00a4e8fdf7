"""Which checkpoint of a run is the best by a held-out metric, and when a run that no longer improves ends.

Both are functions of the log: a run that was killed and continued makes the same choices, and needs no other note.
"""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ssl_jax.errors import UserError
from ssl_jax.training.compiling import Program
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import Data, TrainConfig, higher_is_better
from ssl_jax.training.metrics import Line


class Criterion(NamedTuple):
    """What the best checkpoint is chosen by.

    Attributes:
      metric: its name; empty if no checkpoint is the best.
      split: the held-out set; empty where there is a single one.
      highest: whether the highest value is the best.
      patience: evaluations without a better value after which the run ends; 0 for none.
    """

    metric: str = ""
    split: str = ""
    highest: bool = True
    patience: int = 0

    @classmethod
    def of(cls, config: TrainConfig) -> "Criterion":
        """The criterion of a run."""
        split, _, metric = config.best_metric.rpartition("/")
        return cls(metric, split, bool(higher_is_better(config)), config.patience)

    def __str__(self) -> str:
        return f"{self.split}/{self.metric}" if self.split else self.metric

    def values(self, lines: Sequence[Line]) -> dict[int, float | None]:
        """By step, the values in the evaluations of a log; None where the metric has no finite value."""
        found = {}
        for line in lines:
            if self.metric and "split" in line and self.split in ("", line["split"]):
                value = line.get(self.metric, math.nan)
                found[line["step"]] = value if math.isfinite(value) else None
        return found

    def best(self, lines: Sequence[Line], steps: Collection[int] | None = None) -> int | None:
        """The step of the best value in a log, the earliest of equal ones; None if there is no value.

        Args:
          lines: of the log.
          steps: to choose from; None for all.
        """
        sign = 1 if self.highest else -1
        values = {
            step: sign * value
            for step, value in self.values(lines).items()
            if value is not None and (steps is None or step in steps)
        }
        return max(values, key=lambda step: (values[step], -step), default=None)

    def ends(self, lines: Sequence[Line]) -> bool:
        """Whether a run with this log ends, as its last evaluations were no better."""
        best = self.best(lines) or 0
        return 0 < self.patience <= sum(step > best for step in self.values(lines))


def check_criterion(criterion: Criterion, program: Program, evaluator: Evaluator, data: Data) -> None:
    """Checks the metric of a new run before its first step; nothing is compiled.

    Raises:
      UserError: there is no such held-out set or metric, or there are several sets and none is named.
    """
    sets = {split: number for number, splits in reversed([*enumerate(data.heldout)]) for split in splits}
    split = criterion.split or next(iter(sets))
    if split not in sets or (len(sets) > 1 and not criterion.split):
        named = " or ".join(f"{name}/{criterion.metric}" for name in sorted(sets))
        raise UserError(
            f"train.best_metric {criterion}: expected a held-out set and a metric of it, {named}."
        )
    phase = program.experiment.phases[sets[split]]
    variables = program.state.params, program.state.extras
    names = evaluator.metric_names(*variables, phase.heldout_batch, data, split, phase=sets[split])
    if criterion.metric not in names:
        raise UserError(
            f"train.best_metric {criterion}: the held-out set {split} has no such metric; expected one of "
            f"{', '.join(sorted(names))}."
        )
