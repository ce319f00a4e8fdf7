"""The state of a run: everything that changes from step to step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssl_jax.method import Batch, Extras, Mean, Method, Tree, split_variables


class TrainState(NamedTuple):
    """All that is saved. Randomness and data are functions of (seed, step), so there is nothing else to remember.

    Attributes:
      step: int32 scalar, the number of finished steps.
      params: what the gradient updates.
      extras: state without gradient (batch statistics, EMA target, codebook).
      opt_state: the optimiser's state.
      metrics: the mean of every metric since the last log line. It is part of the state so that a line interrupted by a
        restart still averages over all of its steps.
      bad_step: int32 scalar, the first step whose loss or gradient was not finite; 0 if there was none.
    """

    step: jax.Array
    params: Tree
    extras: Extras
    opt_state: optax.OptState
    metrics: dict[str, Mean]
    bad_step: jax.Array

    @property
    def variables(self) -> dict[str, Tree]:
        """The model: {"params": ..., **extras}."""
        return {"params": self.params, **self.extras}


def initial_state(
    method: Method,
    optimizer: optax.GradientTransformation,
    metric_names: tuple[str, ...],
    batch: Batch,
    seed: int,
) -> TrainState:
    """A run's state before its first step. Pure, so it can be traced for shapes or compiled with any sharding."""
    params, extras = split_variables(method.init(jax.random.key(seed), batch))
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        extras=extras,
        opt_state=optimizer.init(params),
        metrics=zero_metrics(metric_names),
        bad_step=jnp.zeros((), jnp.int32),
    )


def zero_metrics(names: tuple[str, ...]) -> dict[str, Mean]:
    """Empty accumulators of the metrics with these names."""
    return {name: Mean(jnp.zeros((), jnp.float32), jnp.zeros((), jnp.float32)) for name in names}
