"""Parts of update rules that optax lacks, or does not have for layers that are stacked on axis 0.

The layers of a stack lie below a component `layers` of the parameter path. Which stacks there are follows from the
shapes of all parameters together (`stacked_layers`). The rules get it from their caller, because a rule that updates
one group of parameters does not see the others.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssl_jax.training.paths import path_name

Stacks = Mapping[str, int]
"""How many layers lie stacked below each component `layers`, by the path of that component."""


class BertAdamState(NamedTuple):
    """Running means of the gradients and of their squares, shaped as the parameters."""

    mu: Any
    nu: Any


def scale_by_bert_adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam without bias correction (google-research/bert, optimization.py).

    The means start at 0, so that early updates are up to (1 - beta1) / sqrt(1 - beta2) = 3.2 times as large
    as Adam's; the warm-up is there to keep them small.
    """

    def init(params: Any) -> BertAdamState:
        return BertAdamState(optax.tree.zeros_like(params), optax.tree.zeros_like(params))

    def update(grads: Any, state: BertAdamState, params: Any = None) -> tuple[Any, BertAdamState]:
        del params
        mu = optax.tree.update_moment(grads, state.mu, beta1, 1)
        nu = optax.tree.update_moment(grads, state.nu, beta2, 2)
        return jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + epsilon), mu, nu), BertAdamState(mu, nu)

    return optax.GradientTransformation(init, update)


def scale_by_layer_trust_ratio(
    adapts: Callable[[Any], Any], stacks: Stacks, coefficient: float = 1.0
) -> optax.GradientTransformation:
    """The ratio of norms |parameter| / |update| of LARS and LAMB (arXiv:1708.03888, 1904.00962), layer by layer.

    `optax.lars` and `optax.lamb` take a stack for one layer, and adapt biases and norms too unless they are masked;
    the released codes do not. Queries, keys and values, which are one kernel here, have a ratio each, since they are
    three in the released codes (google-research/albert, modeling.py). A parameter or update that is all zeros is not
    scaled at all.

    Args:
      adapts: from the parameters to a tree of which of them are adapted.
      stacks: of the model, from `stacked_layers`.
      coefficient: on the ratio.
    """
    ratio = optax.scale_by_trust_ratio(trust_coefficient=coefficient)

    def adapt(update: jax.Array, param: jax.Array) -> jax.Array:
        return ratio.update(update, optax.EmptyState(), param)[0]

    def update(updates: Any, params: Any) -> Any:
        def leaf(path: tuple[Any, ...], update: jax.Array, param: jax.Array, adapted: bool) -> jax.Array:
            return _each_kernel(adapt, path, stacks)(update, param) if adapted else update

        return jax.tree_util.tree_map_with_path(leaf, updates, params, adapts(params))

    return optax.stateless(update)


def scale_by_clipped_trust_ratio(
    adapts: Callable[[Any], Any], stacks: Stacks, coefficient: float, schedule: optax.Schedule
) -> optax.GradientTransformation:
    """The ratio of LARS, divided by the learning rate and at most 1 (LARC; `clip_lr` of vturrisi/solo-learn).

    Times the learning rate, a layer's rate is then that of LARS with a learning rate of 1, but never above the learning
    rate. solo-learn divides by the sum of the norms of gradient and decay, in place of the norm of their sum.

    Args:
      adapts, stacks, coefficient: as of `scale_by_layer_trust_ratio`.
      schedule: the learning rate.
    """

    def update(updates: Any, state: optax.ScaleByScheduleState, params: Any) -> tuple[Any, Any]:
        rate = schedule(state.count)

        def adapt(update: jax.Array, param: jax.Array) -> jax.Array:
            length, step = jnp.linalg.norm(param), jnp.linalg.norm(update)
            # Not a quotient of the rate: that is 0 at the first step of a warm-up.
            clipped = coefficient * length >= rate * step
            ratio = coefficient * length / jnp.where(clipped, 1, rate * step)
            return update * jnp.where(clipped | (length == 0), 1, ratio)

        def leaf(path: tuple[Any, ...], update: jax.Array, param: jax.Array, adapted: bool) -> jax.Array:
            return _each_kernel(adapt, path, stacks)(update, param) if adapted else update

        updates = jax.tree_util.tree_map_with_path(leaf, updates, params, adapts(params))
        return updates, optax.ScaleByScheduleState(count=optax.safe_increment(state.count))

    def init(params: Any) -> optax.ScaleByScheduleState:
        return optax.ScaleByScheduleState(count=jnp.zeros([], jnp.int32))

    return optax.GradientTransformation(init, update)


def scale_by_depth(layer_decay: float, stacks: Stacks) -> optax.GradientTransformation:
    """ELECTRA's learning rates by layer (arXiv:2003.10555).

    Each layer has `layer_decay` times the rate of the one above it: layer i of n (from 0) is scaled by layer_decay **
    (n - i), `embeddings` by layer_decay ** (n + 1), and all that is neither, such as a head and a pooler, by 1. (The
    released code of ELECTRA has the top layer two steps below the head.) Layers that share their parameters count as
    one.

    Args:
      layer_decay: factor from one layer to the one below it.
      stacks: of the model, from `stacked_layers`; n is the size of the largest.
    """
    deepest = max(stacks.values(), default=1)

    def update(updates: Any, params: Any) -> Any:
        del params

        def leaf(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
            if "embeddings" in path_name(path).split("/"):
                return update * layer_decay ** (deepest + 1)
            stack = _stack(path)
            if stack is None:
                return update
            if stack not in stacks:  # one set of parameters, shared by all layers
                return update * layer_decay
            scales = layer_decay ** (stacks[stack] - jnp.arange(stacks[stack], dtype=update.dtype))
            return update * scales.reshape(-1, *[1] * (update.ndim - 1))

        return jax.tree_util.tree_map_with_path(leaf, updates)

    return optax.stateless(update)


def stacked_layers(params: Any) -> Stacks:
    """The stacks of a model, from all of its parameters.

    Layers that share their parameters lie below `layers` too, unstacked: their biases then have one axis, not two.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if (stack := _stack(path)) is not None:
            shapes.setdefault(stack, []).append(leaf.shape)
    return {stack: group[0][0] for stack, group in shapes.items() if min(map(len, group)) > 1}


FUSED = re.compile(r"(^|/)attention/(qkv|key_value)/kernel$")
"""Kernels `[..., inputs, 2 or 3, heads, head_dim]` of queries, keys and values together (`models/attention.py`)."""


def _each_kernel(
    adapt: Callable[[jax.Array, jax.Array], jax.Array], path: tuple[Any, ...], stacks: Stacks
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """`adapt(update, parameter)` for every layer of a stack, and in it for each of the kernels that are fused."""
    if FUSED.search(path_name(path)):
        adapt = jax.vmap(adapt, in_axes=-3, out_axes=-3)
    return jax.vmap(adapt) if _stack(path) in stacks else adapt


def _stack(path: tuple[Any, ...]) -> str | None:
    """The path up to its component `layers`, None if it has none."""
    match = re.match(r"(.*/)?layers(?=/)", path_name(path))
    return match and match.group()
