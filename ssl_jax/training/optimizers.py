"""Optimisers from a configuration, put together from the parts of optax.

Parameters are told apart by path (`ssl_jax.training.paths`): which ones decay, how deep they lie, and which group they
belong to. Layers that are stacked on axis 0 below a component `layers` count as separate layers.

`OptimizerConfig.groups` gives some of the parameters settings of their own. Each example is a complete configuration:

    # Barlow Twins: a lower learning rate for biases and norm parameters.
    OptimizerConfig("lars", groups=(ParameterGroup("bias", "(bias|scale)$", rate=0.024),))

    # SimSiam: the predictor's learning rate does not decay.
    OptimizerConfig("sgd", groups=(ParameterGroup("predictor", "^predictor/", decay="constant"),))

    # A GAN: the discriminator has an optimiser and a largest gradient norm of its own; the rest is the generator.
    OptimizerConfig(groups=(ParameterGroup("discriminator", "^discriminator/", rate=4.0, beta1=0.0, clip_norm=1.0),))

    # Fine-tuning of a head: the encoder does not move.
    OptimizerConfig(groups=(ParameterGroup("encoder", "^encoder/", frozen=True),))
"""

import dataclasses
import re
from typing import Annotated, Any, Literal

import jax
import optax

from ssl_jax.domains import Fraction, NonNegativeFloat, Pattern, PositiveFloat, PositiveShare, Settings, texts
from ssl_jax.errors import UserError
from ssl_jax.training.paths import named_leaves, path_name
from ssl_jax.training.schedules import Decay, Schedule
from ssl_jax.training.update_rules import (
    Stacks,
    scale_by_bert_adam,
    scale_by_clipped_trust_ratio,
    scale_by_depth,
    scale_by_layer_trust_ratio,
    stacked_layers,
)

Rule = Literal["adamw", "amsgrad", "bert_adam", "lamb", "lars", "sgd"]

BASE = "base"
"""The group of all parameters that no configured group takes."""


def _is_name(text: str) -> bool:
    """Whether it can be part of the name of a metric."""
    return re.fullmatch(r"[\w-]+", text) is not None


@dataclasses.dataclass(frozen=True)
class ParameterGroup(Settings):
    """Parameters with settings of their own. A setting that is None is that of the optimiser."""

    name: Annotated[str, texts("letters, digits, _ and -, such as 'predictor'", _is_name)]
    """What the group is called in the optimiser's state and in the log, where its rate is `learning_rate/NAME`."""
    pattern: Pattern
    """Regular expression that is searched for in parameter paths. A parameter belongs to the first group that matches;
    if none does, the optimiser's own settings hold."""
    frozen: bool = False
    """The parameters are never updated and have no optimiser state; the settings below then have no effect."""
    rate: PositiveFloat = 1.0
    """Factor on the learning rate."""
    decay: Decay | None = None
    """Decay of the learning rate after the warm-up, in place of schedule.decay."""
    rule: Rule | None = None
    """Update rule, in place of optimizer.name."""
    beta1: Fraction | None = None
    """In place of optimizer.beta1."""
    beta2: Fraction | None = None
    """In place of optimizer.beta2."""
    weight_decay: NonNegativeFloat | None = None
    """In place of optimizer.weight_decay; optimizer.no_decay holds here too."""
    clip_norm: NonNegativeFloat | None = None
    """Largest norm of the gradients of this group alone; 0 turns clipping off. With None they are clipped together
    with those of all other parameters that have no clip_norm of their own."""


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Settings):
    """The update rule; the defaults are those of BERT, but for Adam's bias correction."""

    name: Rule = "adamw"
    """adamw (arXiv:1711.05101); amsgrad, the same with the largest mean of squared gradients so far
    (https://openreview.net/forum?id=ryQu7f-RZ); bert_adam, adamw without bias correction, as in google-research/bert;
    lamb (arXiv:1904.00962); sgd with momentum beta1; lars (arXiv:1708.03888), the same with a rate for each layer."""
    beta1: Fraction = 0.9
    """Decay of the mean of gradients; the momentum of sgd and lars, where gradients are summed."""
    beta2: Fraction = 0.999
    """Decay of the mean of squared gradients."""
    epsilon: NonNegativeFloat = 1e-6
    """Added to the root of the mean of squared gradients."""
    weight_decay: NonNegativeFloat = 0.01
    """Share of a parameter that is taken off, times the learning rate; under sgd and lars it is added to the gradient
    and goes through the momentum."""
    no_decay: Pattern = "(bias|scale)$"
    """Regular expression of the paths that do not decay; lamb and lars do not adapt their rate either."""
    clip_norm: NonNegativeFloat = 1.0
    """Largest norm of all gradients together; 0 turns clipping off."""
    trust_coefficient: PositiveFloat = 0.001
    """Of lars: a layer's update has this share of the norm of its parameters, before momentum and learning rate."""
    nesterov: bool = False
    """Of sgd and lars: Nesterov's momentum. The update is the gradient plus beta1 times the new sum of gradients."""
    rate_in_momentum: bool = True
    """Of lars: the momentum sums updates that are already times the learning rate of their step, as in SimCLR's code;
    otherwise the rate multiplies the sum, as in BYOL's, Barlow Twins' and VICReg's."""
    clip_rate: bool = False
    """Of lars: the rate of a layer is trust_coefficient times the ratio of norms, but at most the learning rate, which
    does not multiply it otherwise (LARC; clip_lr of solo-learn)."""
    layer_decay: PositiveShare = 1.0
    """Factor on the learning rate from one layer to the one below it, for fine-tuning; ELECTRA uses 0.8."""
    groups: tuple[ParameterGroup, ...] = ()
    """Parameters with settings of their own."""

    def check_relations(self) -> None:
        taken = {BASE}
        for number, group in enumerate(self.groups):
            section = f"optimizer.groups.{number}"
            if group.name in taken:
                raise UserError(
                    f"{section}.name {group.name!r} is taken by "
                    f"{'the parameters of no group' if group.name == BASE else 'an earlier group'}; choose another."
                )
            taken.add(group.name)


def learning_rates(config: OptimizerConfig, schedule: Schedule) -> dict[str, Schedule]:
    """The learning rates of an optimiser, under the names they are logged by.

    Args:
      config: of the optimiser.
      schedule: the learning rate of the parameters that belong to no group.

    Returns:
      `learning_rate`, the schedule, and `learning_rate/NAME` of every group that is not frozen.
    """
    groups = {
        f"learning_rate/{group.name}": schedule.varied(factor=group.rate, decay=group.decay)
        for group in config.groups
        if not group.frozen
    }
    return {"learning_rate": schedule, **groups}


def make_optimizer(config: OptimizerConfig, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The whole update rule, from clipping to the learning rate of the step.

    Args:
      config: the rule, and the groups of parameters with settings of their own.
      schedule: the learning rate as a function of the step. With groups it must come from `make_schedule`, since each
        group follows a variation of it.

    Raises:
      UserError: when the optimiser is initialised, if a group has no parameters.
    """
    rates = learning_rates(config, schedule)

    def of(params: Any) -> optax.GradientTransformation:
        """The optimiser of a model with these parameters."""
        stacks = stacked_layers(params)
        if not config.groups:
            return optax.chain(*_clip(config.clip_norm), *_update_rule(config, schedule, stacks))
        labels = _group_names(config.groups, params)
        rules = {BASE: optax.chain(*_update_rule(config, schedule, stacks))}
        together = {BASE}  # groups whose gradients are clipped by one common norm
        for group in config.groups:
            if group.frozen:
                rules[group.name] = optax.set_to_zero()
                continue
            own = _settings(config, group)
            rule = _update_rule(own, rates[f"learning_rate/{group.name}"], stacks)
            if group.clip_norm is None:
                together.add(group.name)
            else:
                rule = [*_clip(group.clip_norm), *rule]
            rules[group.name] = optax.chain(*rule)
        common = jax.tree.map(lambda name: name in together, labels)
        clip = [optax.masked(part, common) for part in _clip(config.clip_norm)]
        return optax.chain(*clip, optax.partition(rules, labels))

    return optax.GradientTransformation(
        lambda params: of(params).init(params),
        lambda grads, state, params: of(params).update(grads, state, params),
    )


def _clip(norm: float) -> list[optax.GradientTransformation]:
    """Clipping to a norm; nothing for 0."""
    return [optax.clip_by_global_norm(norm)] if norm else []


def _settings(config: OptimizerConfig, group: ParameterGroup) -> OptimizerConfig:
    """The configuration of a group's update rule."""
    own = {
        "name": group.rule,
        "beta1": group.beta1,
        "beta2": group.beta2,
        "weight_decay": group.weight_decay,
    }
    own = {name: value for name, value in own.items() if value is not None}
    return dataclasses.replace(config, groups=(), **own)


def _group_names(groups: tuple[ParameterGroup, ...], params: Any) -> Any:
    """The name of the group of every parameter, as a tree. UserError if a group has none."""

    def name(path: tuple[Any, ...], _: jax.Array) -> str:
        found = (group.name for group in groups if re.search(group.pattern, path_name(path)))
        return next(found, BASE)

    names = jax.tree_util.tree_map_with_path(name, params)
    used = set(jax.tree.leaves(names))
    for number, group in enumerate(groups):
        if group.name not in used:
            paths = list(named_leaves(params))
            some = paths[:: max(1, len(paths) // 5)][:5]
            raise UserError(
                f"optimizer.groups.{number}.pattern {group.pattern!r} matches no parameter"
                f"{' that an earlier group has not taken' if number else ''}; expected a regular expression that is "
                f"found in the path of at least one. Paths of this model are, for example, {', '.join(some)}."
            )
    return names


def _update_rule(
    config: OptimizerConfig, schedule: optax.Schedule, stacks: Stacks
) -> list[optax.GradientTransformation]:
    """The parts of a rule in their order, without clipping."""

    def decays(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: re.search(config.no_decay, path_name(path)) is None, params
        )

    weight_decay = optax.add_decayed_weights(config.weight_decay, mask=decays)
    moments = (config.beta1, config.beta2, config.epsilon)
    # Without momentum, no array of it is kept and written in each step.
    momentum = optax.trace(config.beta1, nesterov=config.nesterov) if config.beta1 else optax.identity()
    rate = [optax.scale_by_learning_rate(schedule)]
    match config.name:
        case "adamw":
            rule = [optax.scale_by_adam(*moments), weight_decay]
        case "amsgrad":
            rule = [optax.scale_by_amsgrad(*moments), weight_decay]
        case "bert_adam":
            rule = [scale_by_bert_adam(*moments), weight_decay]
        case "lamb":
            rule = [optax.scale_by_adam(*moments), weight_decay, scale_by_layer_trust_ratio(decays, stacks)]
        case "sgd":
            rule = [weight_decay, momentum]
        case "lars":
            ratio = (decays, stacks, config.trust_coefficient)
            if config.clip_rate:
                rule = [weight_decay, scale_by_clipped_trust_ratio(*ratio, schedule)]
            else:
                rule = [weight_decay, scale_by_layer_trust_ratio(*ratio)]
            rate = [*rate, momentum] if config.rate_in_momentum else [momentum, *rate]
    if config.layer_decay < 1:
        rule.append(scale_by_depth(config.layer_decay, stacks))
    return [*rule, *rate]
