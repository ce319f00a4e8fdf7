"""The seam between an idea and the machinery.

An idea is a `Method`: a few pure functions of arrays. Everything else (sharding, gradient accumulation, checkpoints,
resuming, logging, evaluation, `plan`, `replay`) is machinery in `ssl_jax.training` that knows nothing but this file.

A complete method, a denoising autoencoder, as experiments/minimal.py trains it:

    def denoising(width: int, noise: float) -> Method:
        def init(rng, batch):
            pixels = batch["image"].shape[-1]
            down, up = jax.random.split(rng)
            return {"params": {"encoder": jax.random.normal(down, (pixels, width)) / pixels**0.5,
                               "decoder": jax.random.normal(up, (width, pixels)) / width**0.5}}

        def loss(params, extras, batch, rng):
            clean = batch["image"]
            noisy = clean + noise * jax.random.normal(rng, clean.shape)
            restored = jnp.tanh(noisy @ params["encoder"]) @ params["decoder"]
            error = jnp.square(restored - clean).sum(-1)
            return error.mean(), Aux({"noise_left": (error.sum(), error.size)}, extras)

        return Method(init, loss)

Rules of the contract:

- A loss sees the *global* batch as one array. It knows nothing of devices, meshes, hosts or optimiser steps; negatives
  and batch statistics are thereby global.
- Randomness comes from `rng` alone, which the machinery folds from (seed, step).
- `extras` is every state that gets no gradient: batch statistics, an EMA target network, a codebook.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

Tree = Any
Batch = Mapping[str, jax.Array]
Mean = tuple[jax.Array, jax.Array]
"""A figure as (sum, weight), so that its mean is right over devices, micro-batches and a short last batch."""

Evaluate = Callable[[Tree, Mapping[str, Tree], Batch, jax.Array], Mapping[str, Mean]]
"""`(params, extras, batch, rng) -> metrics` on held-out data."""
Represent = Callable[[Tree, Mapping[str, Tree], Batch], jax.Array]
"""`(params, extras, batch) -> [batch, width]`, what a frozen model makes of examples."""


class Aux(NamedTuple):
    """What a loss returns beside the loss."""

    metrics: Mapping[str, Mean]
    extras: Mapping[str, Tree]


def unchanged(params: Tree, extras: Mapping[str, Tree], step: jax.Array) -> Mapping[str, Tree]:
    """The default `after_update`: extras stay as the loss left them."""
    return extras


class Method(NamedTuple):
    """A self-supervised objective.

    init: `(rng, batch) -> {"params": tree, **extras}`. `batch` holds arrays or only their shapes.
    loss: `(params, extras, batch, rng) -> (losses, Aux(metrics, extras))`. `losses` is a scalar, or a dictionary of
        named `(sum, weight)` pairs whose means are added up. The pairs keep an objective exact when a batch is cut into
        micro-batches of uneven weight (masked words); a scalar is averaged over micro-batches of equal size.
    after_update: `(params, extras, step) -> extras`, once per optimiser step with the new parameters; `step` counts
        from 1. An EMA target is updated here.
    """

    init: Callable[[jax.Array, Batch], dict[str, Tree]]
    loss: Callable[[Tree, Mapping[str, Tree], Batch, jax.Array], tuple[jax.Array | dict[str, Mean], Aux]]
    after_update: Callable[[Tree, Mapping[str, Tree], jax.Array], Mapping[str, Tree]] = unchanged
