"""What every experiment shares: the configuration of a run, and the one place that builds an `Experiment`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
from etils import epath

from ssl_jax.domains import PositiveInt, Settings
from ssl_jax.method import Method
from ssl_jax.training.experiment import Data, Experiment, Phase, TrainConfig
from ssl_jax.training.optimizers import OptimizerConfig, learning_rates, make_optimizer
from ssl_jax.training.schedules import ScheduleConfig, make_schedule, shortened
from ssl_jax.training.sharding import MeshConfig


@dataclass(frozen=True)
class RunConfig(Settings):
    """How a run is trained. The configuration of an experiment adds its data, its model and its objective."""

    steps: PositiveInt = 1000
    """Optimiser steps of the whole run."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)


def one_phase(
    config: RunConfig,
    rows: Mapping[str, jax.ShapeDtypeStruct],
    unit: str,
    units_per_example: int = 1,
    heldout_rows: Mapping[str, jax.ShapeDtypeStruct] | None = None,
) -> tuple[Phase, ...]:
    """The phases of a run whose batches all have one shape.

    Args:
      config: of the run.
      rows: shape and dtype of every array of a batch, as of a `batch_shapes`.
      unit: what the speed counts, such as "images" or "tokens".
      units_per_example: how many of them an example has.
      heldout_rows: as `rows`, of held-out data; None if it has the same arrays.
    """
    work = unit, config.train.batch_size * units_per_example
    return (Phase(config.steps, rows, work, heldout_rows),)


def make_experiment(
    config: RunConfig,
    method: Method,
    *,
    phases: Sequence[Phase],
    open_data: Callable[[epath.Path], Data],
    **optional: Any,
) -> Experiment:
    """The experiment of a method: its optimiser and schedule, mesh and rhythm come from the configuration.

    Args:
      config: of the run.
      method: what is trained.
      phases: stretches of training with batches of one shape; see `one_phase`.
      open_data: `(run folder) -> Data`.
      **optional: the other fields of `Experiment`, such as `headline` and `report`.
    """
    schedule = make_schedule(config.schedule, config.steps)
    note = shortened(config.schedule, config.steps)
    return Experiment(
        method=method,
        optimizer=make_optimizer(config.optimizer, schedule),
        train=config.train,
        mesh=config.mesh,
        phases=tuple(phases),
        open_data=open_data,
        schedules=learning_rates(config.optimizer, schedule),
        notes=(note,) if note else (),
        **optional,
    )
