"""The seam between an idea and the machinery.

An idea is a `Method`: a few pure functions of arrays. Everything else (sharding, gradient accumulation, checkpoints,
resuming, logging, evaluation, `plan`, `replay`) is machinery in `ssl_jax.training`, which knows nothing of a method but
this file. `experiments/minimal.py` is a complete method with its experiment.

Rules of the contract:

- A loss receives the *global* batch as one array. It knows nothing of devices, meshes, hosts or optimiser steps, so
  negatives and batch statistics are global.
- Every batch has `example_weight`, float32 [batch]: 1 in training; in an evaluation 0 for the rows that only fill up
  the last batch.
- Randomness comes from `rng` alone, which the machinery derives from (seed, step).
- `extras` is all state without a gradient: batch statistics, an EMA target network, a codebook, a queue, a frozen
  model.
- Two networks that play against each other are one sum with stop-gradients, and an optimiser whose parameter groups
  treat them apart (`ssl_jax.training.optimizers`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError

Tree = Any
Batch = Mapping[str, jax.Array]
Extras = Mapping[str, Tree]


class Mean(NamedTuple):
    """A mean as a sum and its weight, so that it is exact over devices, micro-batches and a short last batch.

    Attributes:
      sum: float32 scalar.
      weight: float32 scalar; the mean is `sum / weight`, and has no value where the weight is 0.
    """

    sum: jax.Array
    weight: jax.Array

    @classmethod
    def of(cls, values: jax.Array, mask: jax.Array) -> "Mean":
        """The mean of `values [...]` weighted by `mask [...]`; both have one shape.

        Example:
          >>> mean = Mean.of(jnp.array([1.0, 2.0, 9.0]), jnp.array([1.0, 1.0, 0.0]))
          >>> print(mean.sum, mean.weight)
          3.0 2.0
        """
        mask = jnp.float32(mask)
        return cls((jnp.float32(values) * mask).sum(), mask.sum())

    def scaled(self, factor: jax.Array | float) -> "Mean":
        """The mean times a factor."""
        return Mean(factor * self.sum, self.weight)


Metrics = Mapping[str, Mean]


class Aux(NamedTuple):
    """What a loss returns beside the loss.

    Attributes:
      metrics: means that are logged, not minimised.
      extras: the state without gradient, as the loss leaves it.
    """

    metrics: Metrics
    extras: Extras


Losses = jax.Array | Metrics
Evaluate = Callable[[Tree, Extras, Batch, jax.Array], Metrics]
"""`(params, extras, batch, rng) -> metrics` on held-out data."""
Represent = Callable[[Tree, Extras, Batch], jax.Array]
"""`(params, extras, batch) -> [batch, ...]`, what a frozen model computes from each example."""


def unchanged(params: Tree, extras: Extras, step: jax.Array) -> Extras:
    """The default `after_update`: extras stay as the loss left them."""
    return extras


class Method(NamedTuple):
    """A self-supervised objective.

    Attributes:
      init: `(rng, batch) -> {"params": tree, **extras}`. `batch` holds arrays or only their shapes.
      loss: `(params, extras, batch, rng) -> (losses, Aux(metrics, extras))`. `losses` is a scalar, or named means whose
        sum is minimised. Means keep an objective exact when a batch is cut into micro-batches of uneven weight (masked
        words); a scalar is averaged over micro-batches of equal size.
      evaluate: `(params, extras, batch, rng) -> metrics` on held-out data, deterministic but for `rng`. None stands for
        the losses and metrics of `loss`.
      after_update: `(params, extras, step) -> extras`, once per optimiser step with the new parameters; `step` counts
        from 1. An EMA target is updated here.
    """

    init: Callable[[jax.Array, Batch], dict[str, Tree]]
    loss: Callable[[Tree, Extras, Batch, jax.Array], tuple[Losses, Aux]]
    evaluate: Evaluate | None = None
    after_update: Callable[[Tree, Extras, jax.Array], Extras] = unchanged


def named_means(losses: Losses, batch: Batch) -> dict[str, Mean]:
    """Losses as named means: a scalar counts once per example and is named `loss`."""
    if isinstance(losses, Mapping):
        return {name: Mean(*mean) for name, mean in losses.items()}
    examples = batch["example_weight"].sum()
    return {"loss": Mean(losses * examples, examples)}


def evaluate(method: Method, params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
    """The method's metrics on a held-out batch; see `Method.evaluate`."""
    if method.evaluate is not None:
        return {name: Mean(*mean) for name, mean in method.evaluate(params, extras, batch, rng).items()}
    losses, aux = method.loss(params, extras, batch, rng)
    return merge_metrics(named_means(losses, batch), aux.metrics)


def merge_metrics(*parts: Metrics) -> dict[str, Mean]:
    """The losses and metrics of several sources in one dictionary.

    Raises:
      UserError: two of them have the same name, so that one would hide the other.
    """
    merged: dict[str, Mean] = {}
    for part in parts:
        if taken := sorted(merged.keys() & part.keys()):
            raise UserError(
                f"{', '.join(taken)}: two losses or metrics of this method have this name; rename one of them, for "
                f"example to {taken[0]}_loss."
            )
        merged |= {name: Mean(*mean) for name, mean in part.items()}
    return merged


def split_variables(variables: Mapping[str, Tree]) -> tuple[Tree, dict[str, Tree]]:
    """(params, extras) of `{"params": ..., **extras}`."""
    return variables["params"], {name: tree for name, tree in variables.items() if name != "params"}


def example_shape(batch_size: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of `example_weight`."""
    return jax.ShapeDtypeStruct((batch_size,), jnp.float32)
