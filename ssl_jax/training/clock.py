"""How long a run has trained, and what is logged of the steps since the line before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax

from ssl_jax.method import Mean


@dataclass(frozen=True)
class Clock:
    """Time of training, over all processes that have continued the run.

    Attributes:
      seconds: of training.
      waiting: seconds of these that were spent waiting for data.
      work: done by then, in the unit of the phases.
      operations: done by then; see `Utilization.operations`.
    """

    seconds: float = 0.0
    waiting: float = 0.0
    work: float = 0.0
    operations: float = 0.0


class LoggedInterval(NamedTuple):
    """What is logged of the steps up to `step`, still on the devices.

    Attributes:
      step: the last one of the interval.
      metrics: of its steps.
      schedules: their values at that step, such as the learning rate.
      bad_step: the first step whose loss or gradient was not finite; 0 for none.
      clock: at that step.
    """

    step: int
    metrics: Mapping[str, Mean]
    schedules: Mapping[str, jax.Array]
    bad_step: jax.Array
    clock: Clock
