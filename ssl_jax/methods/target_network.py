"""A second network whose parameters are a moving average of the first one's: a target, key encoder or teacher."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from ssl_jax.domains import Probability, Settings
from ssl_jax.method import Tree


@dataclass(frozen=True)
class TargetConfig(Settings):
    """The moving average; the defaults are BYOL's (arXiv:2006.07733)."""

    decay: Probability = 0.996
    """Share of itself that the target keeps at the first step. 0.95 to 0.99 for short runs."""
    final_decay: Probability | None = 1.0
    """The decay at the end of the run, reached along a cosine; None: it stays as it is, as in MoCo."""
    start: Literal["own", "copy"] = "own"
    """The target starts with weights of its own, as in deepmind-research/byol, or as a copy of the network."""
    statistics: Literal["batch", "average"] = "batch"
    """What the target's batch normalisation uses in training. batch: statistics of the batch, as in the codes of BYOL,
    MoCo and DINO. average: a moving average of the network's running statistics, so that the target of an image does
    not depend on the other images of its batch (arXiv:2101.08482)."""


def target_decay(config: TargetConfig, step: jax.Array, steps: int) -> jax.Array:
    """The decay of the moving average (arXiv:2006.07733, 3.2).

    Args:
      config: of the target.
      step: counts from 1.
      steps: of the whole run.
    """
    final = config.decay if config.final_decay is None else config.final_decay
    progress = (step - 1) / steps
    return final - (final - config.decay) * (jnp.cos(jnp.pi * progress) + 1) / 2


def update_target(
    config: TargetConfig, target: Mapping[str, Tree], network: Mapping[str, Tree], decay: jax.Array
) -> dict[str, Tree]:
    """The target after a step.

    Args:
      config: of the target.
      target: {"params": modules by name, "batch_stats": likewise}.
      network: of the same form, after the step; modules that the target lacks, such as a predictor, are ignored.
      decay: share of itself that the target keeps.
    """

    def average(kind: str) -> Tree:
        return jax.tree.map(
            lambda old, new: decay * old + (1 - decay) * new,
            target[kind],
            {name: network[kind][name] for name in target[kind]},
        )

    updated = {**target, "params": average("params")}
    if config.statistics == "average":
        updated["batch_stats"] = average("batch_stats")
    return updated
