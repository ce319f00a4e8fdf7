"""Learning-rate schedules: a linear warm-up, then a decay.

The first update is step 0. With a warm-up its rate is 0, step `warmup_steps` has the peak, and the decay ends
at step `steps`, one after the last update, as in google-research/bert. There, the decay runs as if there had
been no warm-up, so that the rate drops from the peak to (1 - warmup_steps / steps) of it in one step; here it
sets out from the peak, as in transformers and optax.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import optax

from ssl_jax.domains import Fraction, NonNegativeInt, PositiveFloat, Probability, Settings

Decay = Literal["linear", "cosine", "rsqrt", "constant"]


@dataclasses.dataclass(frozen=True)
class ScheduleConfig(Settings):
    """The learning rate over the steps of a run; the defaults are BERT's."""

    learning_rate: PositiveFloat = 1e-4
    """The peak, reached at the end of the warm-up."""
    warmup_steps: NonNegativeInt = 10_000
    """Steps over which the rate rises linearly from 0. In a run that is not longer than that: a tenth of its steps."""
    decay: Decay = "linear"
    """After the warm-up. rsqrt falls as sqrt(steps of the warm-up / step)."""
    final_fraction: Probability = 0.0
    """What linear and cosine leave of the peak at the end of the run."""
    warmup_share: Fraction | None = None
    """The share of the run's steps over which the rate rises, in place of warmup_steps."""


SHORT = 0.1
"""Share of a run that is as short as its warm-up in which the rate rises instead."""


def warmup_of(config: ScheduleConfig, steps: int) -> int:
    """The steps of the warm-up in a run of so many steps."""
    if config.warmup_share is not None:
        return round(config.warmup_share * steps)
    return config.warmup_steps if config.warmup_steps < steps else int(SHORT * steps)


def shortened(config: ScheduleConfig, steps: int) -> str | None:
    """A line for the log, where the warm-up is shorter than the settings say; None where it is not."""
    warmup = warmup_of(config, steps)
    if config.warmup_share is not None or warmup == config.warmup_steps:
        return None
    return (
        f"the warm-up of {config.warmup_steps:,} steps does not fit into a run of {steps:,}: it takes {warmup:,} "
        "(--schedule.warmup_steps, or --schedule.warmup_share)"
    )


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A learning rate as a function of the step, with what it was made from.

    Attributes:
      config: the settings.
      steps: updates of the run.
      function: from the step to the rate.
    """

    config: ScheduleConfig
    steps: int
    function: optax.Schedule

    def __call__(self, step: jax.Array | int) -> jax.Array:
        """The rate of the update that follows `step` others."""
        return self.function(step)

    def varied(self, *, factor: float, decay: Decay | None) -> "Schedule":
        """The same with all rates times `factor`, and with another decay unless that is None."""
        config = dataclasses.replace(
            self.config,
            learning_rate=factor * self.config.learning_rate,
            decay=decay or self.config.decay,
        )
        return make_schedule(config, self.steps)


def make_schedule(config: ScheduleConfig, steps: int) -> Schedule:
    """The learning rate of a run of `steps` updates."""
    peak, warmup = config.learning_rate, warmup_of(config, steps)
    match config.decay:
        case "linear":
            decay = optax.linear_schedule(peak, peak * config.final_fraction, steps - warmup)
        case "cosine":
            decay = optax.cosine_decay_schedule(peak, steps - warmup, alpha=config.final_fraction)
        case "rsqrt":
            start = max(warmup, 1)

            def decay(step: jnp.ndarray) -> jnp.ndarray:
                return peak * jnp.sqrt(start / jnp.maximum(start + step, start))
        case "constant":
            decay = optax.constant_schedule(peak)
    if warmup:
        decay = optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), decay], [warmup])
    return Schedule(config, steps, decay)
