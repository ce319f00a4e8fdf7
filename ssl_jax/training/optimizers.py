"""Optimisers from a configuration, put together from the parts of optax.

Parameters are told apart by path (`ssl_jax.training.paths`): which ones decay, and how deep they lie. Layers
that are stacked on axis 0 below a component `layers` count as separate layers.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from ssl_jax.errors import UserError
from ssl_jax.training.paths import path_name


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """The update rule; the defaults are those of BERT, but for Adam's bias correction."""

    name: Literal["adamw", "bert_adam", "lamb", "lars", "sgd"] = "adamw"
    """adamw (arXiv:1711.05101); bert_adam, the same without bias correction, as in google-research/bert; lamb
    (arXiv:1904.00962); sgd with momentum beta1; lars (arXiv:1708.03888), the same with a rate for each layer."""
    beta1: float = 0.9
    """Decay of the mean of gradients; the momentum of sgd and lars, where gradients are summed."""
    beta2: float = 0.999
    """Decay of the mean of squared gradients."""
    epsilon: float = 1e-6
    """Added to the root of the mean of squared gradients."""
    weight_decay: float = 0.01
    """Share of a parameter that is taken off, times the learning rate; under sgd and lars it is added to the gradient
    and goes through the momentum."""
    no_decay: str = "(bias|scale)$"
    """Regular expression of the paths that do not decay; lamb and lars do not adapt their rate either."""
    clip_norm: float = 1.0
    """Largest norm of all gradients together; 0 turns clipping off."""
    trust_coefficient: float = 0.001
    """Of lars: a layer's update has this share of the norm of its parameters, before momentum and learning rate."""
    rate_in_momentum: bool = True
    """Of lars: the momentum sums updates that are already times the learning rate of their step, as in SimCLR's code;
    otherwise the rate multiplies the sum, as in BYOL's, Barlow Twins' and VICReg's."""
    layer_decay: float = 1.0
    """Factor on the learning rate from one layer to the one below it, for fine-tuning; ELECTRA uses 0.8."""

    def __post_init__(self) -> None:
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise UserError(f"optimizer.{name} {getattr(self, name)} must be at least 0 and below 1.")
        for name in ("epsilon", "weight_decay", "clip_norm"):
            if getattr(self, name) < 0:
                raise UserError(f"optimizer.{name} {getattr(self, name)} must be 0 or more.")
        if self.trust_coefficient <= 0:
            raise UserError(f"optimizer.trust_coefficient {self.trust_coefficient} must be above 0.")
        if not 0 < self.layer_decay <= 1:
            raise UserError(f"optimizer.layer_decay {self.layer_decay} must be above 0 and at most 1 (off).")
        try:
            re.compile(self.no_decay)
        except re.error as error:
            raise UserError(
                f"optimizer.no_decay {self.no_decay!r} is not a regular expression: {error}; "
                "expected one that is searched for in parameter paths, such as '(bias|scale)$'."
            ) from None


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The whole update rule, from clipping to the learning rate of the step."""

    def decays(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: re.search(config.no_decay, path_name(path)) is None, params
        )

    weight_decay = optax.add_decayed_weights(config.weight_decay, mask=decays)
    moments = (config.beta1, config.beta2, config.epsilon)
    momentum = optax.trace(config.beta1)
    rate = [optax.scale_by_learning_rate(schedule)]
    match config.name:
        case "adamw":
            rule = [optax.scale_by_adam(*moments), weight_decay]
        case "bert_adam":
            rule = [scale_by_bert_adam(*moments), weight_decay]
        case "lamb":
            rule = [optax.scale_by_adam(*moments), weight_decay, scale_by_layer_trust_ratio(decays)]
        case "sgd":
            rule = [weight_decay, momentum]
        case "lars":
            rule = [weight_decay, scale_by_layer_trust_ratio(decays, config.trust_coefficient)]
            rate = [*rate, momentum] if config.rate_in_momentum else [momentum, *rate]
    if config.clip_norm:
        rule.insert(0, optax.clip_by_global_norm(config.clip_norm))
    if config.layer_decay < 1:
        rule.append(scale_by_depth(config.layer_decay))
    return optax.chain(*rule, *rate)


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
    adapts: Callable[[Any], Any], coefficient: float = 1.0
) -> optax.GradientTransformation:
    """The ratio of norms |parameter| / |update| of LARS and LAMB (arXiv:1708.03888, 1904.00962), layer by layer.

    `optax.lars` and `optax.lamb` take a stack for one layer, and adapt biases and norms too unless they are masked;
    the released codes do not. A parameter or update that is all zeros is not scaled at all.

    Args:
      adapts: from the parameters to a tree of which of them are adapted.
      coefficient: on the ratio.
    """
    ratio = optax.scale_by_trust_ratio(trust_coefficient=coefficient)

    def adapt(update: jax.Array, param: jax.Array) -> jax.Array:
        return ratio.update(update, optax.EmptyState(), param)[0]

    def update(updates: Any, params: Any) -> Any:
        stacks = stacked_layers(params)

        def leaf(path: tuple[Any, ...], update: jax.Array, param: jax.Array, adapted: bool) -> jax.Array:
            if not adapted:
                return update
            return (jax.vmap(adapt) if _stack(path) in stacks else adapt)(update, param)

        return jax.tree_util.tree_map_with_path(leaf, updates, params, adapts(params))

    return optax.stateless(update)


def scale_by_depth(layer_decay: float) -> optax.GradientTransformation:
    """ELECTRA's learning rates by layer (arXiv:2003.10555; google-research/electra, model/optimization.py).

    Of n layers, layer i (from 0) is scaled by layer_decay ** (n + 1 - i), `embeddings` by layer_decay ** (n +
    2) and all else, such as heads, by 1. As there, the last layer thus lies two steps below the heads, not
    one. Layers that share their parameters count as one.
    """

    def update(updates: Any, params: Any) -> Any:
        del params
        stacks = stacked_layers(updates)
        deepest = max(stacks.values(), default=1)

        def leaf(path: tuple[Any, ...], update: jax.Array) -> jax.Array:
            if "embeddings" in path_name(path).split("/"):
                return update * layer_decay ** (deepest + 2)
            stack = _stack(path)
            if stack is None:
                return update
            if stack not in stacks:  # one set of parameters, shared by all layers
                return update * layer_decay**2
            scales = layer_decay ** (stacks[stack] + 1 - jnp.arange(stacks[stack], dtype=update.dtype))
            return update * scales.reshape(-1, *[1] * (update.ndim - 1))

        return jax.tree_util.tree_map_with_path(leaf, updates)

    return optax.stateless(update)


def stacked_layers(params: Any) -> dict[str, int]:
    """How many layers lie stacked below each component `layers`, by the path of that component.

    Layers that share their parameters lie there too, unstacked: their biases then have one axis, not two.
    """
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if (stack := _stack(path)) is not None:
            shapes.setdefault(stack, []).append(leaf.shape)
    return {stack: group[0][0] for stack, group in shapes.items() if min(map(len, group)) > 1}


def _stack(path: tuple[Any, ...]) -> str | None:
    """The path up to its component `layers`, None if it has none."""
    match = re.match(r"(.*/)?layers(?=/)", path_name(path))
    return match and match.group()
