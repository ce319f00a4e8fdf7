"""Groups of parameters, each with an optimiser of its own, against NumPy and chains of optax; none reaches another."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from ssl_jax.cli import parse
from ssl_jax.errors import UserError
from ssl_jax.runs.configuration import restore_config
from ssl_jax.training.optimizers import OptimizerConfig, ParameterGroup, learning_rates, make_optimizer
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.schedules import ScheduleConfig, make_schedule
from ssl_jax.training.sharding import MeshConfig, make_mesh, shard

STEPS = 6
SCHEDULE = make_schedule(ScheduleConfig(learning_rate=0.05, warmup_steps=2, decay="cosine"), STEPS)
RULES = ["adamw", "bert_adam", "lamb", "lars", "sgd"]
PLAYERS = {"generator", "discriminator"}


def parameters(seed=0):
    """Two players: one has embeddings and three stacked layers, the other layers that share their parameters."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    return {
        "generator": {
            "embeddings": {"tokens": draw(5, 4), "norm": {"scale": draw(4)}},
            "layers": {"up": {"kernel": draw(3, 4, 6), "bias": draw(3, 6)}},
            "head": {"kernel": draw(4, 2), "bias": draw(2)},
        },
        "discriminator": {
            "layers": {"mlp": {"kernel": draw(4, 4), "bias": draw(4)}},
            "head": {"kernel": draw(4, 1), "bias": draw(1)},
        },
    }


def run(optimizer, gradients=parameters, start=None):
    """The named parameters after STEPS updates, and the last state. The gradients are a function of the step from 1."""
    params = jax.tree.map(jnp.asarray, parameters() if start is None else start)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for step in range(1, STEPS + 1):
        updates, state = update(gradients(step), state, params)
        params = optax.apply_updates(params, updates)
    return named_leaves(params), state


def decays(params):
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key not in ("bias", "scale"), params)


def assert_equal(ours, theirs, rtol=1e-6):
    assert ours.keys() == theirs.keys()
    for name, leaf in theirs.items():
        np.testing.assert_allclose(ours[name], leaf, rtol=rtol, atol=1e-7, err_msg=name)


def test_without_groups_the_program_and_the_state_are_those_of_a_plain_chain():
    optimizer = make_optimizer(OptimizerConfig(), SCHEDULE)
    plain = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(0.9, 0.999, 1e-6),
        optax.add_decayed_weights(0.01, mask=decays),
        optax.scale_by_learning_rate(SCHEDULE),
    )
    params = parameters()
    state = optimizer.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(plain.init(params))
    programs = [jax.make_jaxpr(made.update)(params, state, params) for made in (optimizer, plain)]
    assert str(programs[0]) == str(programs[1])


DISCRIMINATORS = {
    "other betas and decay": (
        {"beta1": 0.5, "beta2": 0.9, "weight_decay": 0.2, "clip_norm": 0.3},
        lambda rate: [
            optax.clip_by_global_norm(0.3),
            optax.scale_by_adam(0.5, 0.9, 1e-6),
            optax.add_decayed_weights(0.2, mask=decays),
            optax.scale_by_learning_rate(rate),
        ],
    ),
    "sgd": (
        {"rule": "sgd", "beta1": 0.0, "weight_decay": 0.0, "clip_norm": 0.0},
        lambda rate: [optax.sgd(rate)],
    ),
    "constant rate": (
        {"decay": "constant", "weight_decay": 0.0, "clip_norm": 2.0},
        lambda rate: [
            optax.clip_by_global_norm(2.0),
            optax.adam(optax.linear_schedule(0.0, 4 * 0.05, 2), eps=1e-6),
        ],
    ),
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_two_players_equal_two_optimisers_of_optax(name):
    """The gradients of either are clipped by their own norm, far above all of the limits."""
    settings, parts = DISCRIMINATORS[name]
    group = ParameterGroup("discriminator", "^discriminator/", rate=4.0, **settings)
    config = OptimizerConfig(weight_decay=0.1, clip_norm=1.0, groups=(group,))
    ours, _ = run(make_optimizer(config, SCHEDULE))

    generator = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(0.9, 0.999, 1e-6),
        optax.add_decayed_weights(0.1, mask=decays),
        optax.scale_by_learning_rate(SCHEDULE),
    )
    rivals = {
        "generator": generator,
        "discriminator": optax.chain(*parts(lambda step: 4 * SCHEDULE(step))),
    }
    for player, optimizer in rivals.items():
        theirs, _ = run(optimizer, lambda step, player=player: parameters(step)[player], parameters()[player])
        assert_equal({name: ours[f"{player}/{name}"] for name in theirs}, theirs)


@pytest.mark.parametrize("rule", RULES)
def test_groups_that_change_nothing_change_nothing(rule):
    """Common clipping, the depth of layers and the norms of stacked ones are those of the whole model."""
    config = OptimizerConfig(rule, weight_decay=0.1, layer_decay=0.8, clip_norm=2.0, trust_coefficient=0.1)
    plain, _ = run(make_optimizer(config, SCHEDULE))
    patterns = {"bias": "bias$", "embeddings": "embeddings/", "shared": "^discriminator/.*kernel$"}
    groups = tuple(ParameterGroup(name, pattern) for name, pattern in patterns.items())
    ours, _ = run(make_optimizer(dataclasses.replace(config, groups=groups), SCHEDULE))
    assert_equal(ours, plain)
    assert all(np.any(leaf != named_leaves(parameters())[name]) for name, leaf in ours.items())


@pytest.mark.parametrize("louder", sorted(PLAYERS))
def test_clipping_by_player_does_not_depend_on_the_gradients_of_the_other(louder):
    """By common clipping it would: the other one's updates would almost vanish."""
    groups = tuple(ParameterGroup(name, f"^{name}/", clip_norm=0.5) for name in sorted(PLAYERS))
    optimizer = make_optimizer(OptimizerConfig("sgd", clip_norm=0.5, groups=groups), SCHEDULE)

    def loud(step):
        return {**(grads := parameters(step)), louder: jax.tree.map(lambda g: 1e4 * g, grads[louder])}

    quiet, _ = run(optimizer)
    ours, _ = run(optimizer, loud)
    for name, leaf in quiet.items():
        if not name.startswith(louder):
            np.testing.assert_array_equal(ours[name], leaf)
    together, _ = run(make_optimizer(OptimizerConfig("sgd", clip_norm=0.5), SCHEDULE), loud)
    other = "generator/head/kernel" if louder == "discriminator" else "discriminator/head/kernel"
    assert np.abs(together[other] - quiet[other]).max() > 1e-3


def test_frozen_parameters_do_not_move_and_have_neither_state_nor_a_share_in_the_norm():
    config = OptimizerConfig(groups=(ParameterGroup("frozen", "^generator/", frozen=True),), clip_norm=0.7)
    ours, state = run(make_optimizer(config, SCHEDULE))
    for name, leaf in named_leaves(parameters()).items():
        if name.startswith("generator/"):
            np.testing.assert_array_equal(ours[name], leaf)
    assert not [name for name in named_leaves(state) if "generator" in name]
    alone = make_optimizer(OptimizerConfig(clip_norm=0.7), SCHEDULE)
    theirs, plain = run(alone, lambda step: parameters(step)["discriminator"], parameters()["discriminator"])
    assert_equal({name: ours[f"discriminator/{name}"] for name in theirs}, theirs)
    assert len(jax.tree.leaves(state)) == len(jax.tree.leaves(plain))


def test_biases_of_barlow_twins_equal_numpy():
    """LARS of facebookresearch/barlowtwins: mu = 0.9 mu + dp, p -= rate mu; biases neither decay nor are adapted."""
    config = OptimizerConfig(
        "lars",
        weight_decay=0.1,
        clip_norm=0.0,
        trust_coefficient=0.02,
        rate_in_momentum=False,
        groups=(ParameterGroup("bias", "(bias|scale)$", rate=0.024),),
    )
    ours, _ = run(make_optimizer(config, SCHEDULE))
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    momentum = dict.fromkeys(params, 0.0)
    for step in range(STEPS):
        rate = float(SCHEDULE(step))
        for name, grad in named_leaves(parameters(step + 1)).items():
            dp, lr = np.float64(grad), 0.024 * rate
            if not name.endswith(("bias", "scale")):
                dp, lr = dp + 0.1 * params[name], rate
                axes = (1, 2) if name == "generator/layers/up/kernel" else None
                norms = [np.sqrt(np.square(x).sum(axes, keepdims=True)) for x in (params[name], dp)]
                dp = 0.02 * norms[0] / norms[1] * dp
            momentum[name] = 0.9 * momentum[name] + dp
            params[name] = params[name] - lr * momentum[name]
    assert_equal(ours, params, rtol=1e-5)


def test_the_predictor_of_simsiam_keeps_its_rate_while_the_others_decay():
    """facebookresearch/simsiam, `fix_lr`: momentum 0 shows the rate of every step as update / gradient."""
    config = OptimizerConfig(
        "sgd",
        beta1=0.0,
        weight_decay=0.0,
        clip_norm=0.0,
        groups=(ParameterGroup("predictor", "^predictor/", decay="constant"),),
    )
    optimizer = make_optimizer(
        config, make_schedule(ScheduleConfig(learning_rate=0.1, warmup_steps=0, decay="cosine"), STEPS)
    )
    ones = {name: {"kernel": np.ones(3, np.float32)} for name in ("encoder", "predictor")}
    state = optimizer.init(ones)
    for step in range(STEPS):
        updates, state = optimizer.update(ones, state, ones)
        cosine = 0.1 * 0.5 * (1 + np.cos(np.pi * step / STEPS))
        np.testing.assert_allclose(updates["encoder"]["kernel"], np.full(3, -cosine), rtol=1e-5)
        np.testing.assert_allclose(updates["predictor"]["kernel"], np.full(3, -0.1), rtol=1e-6)


def test_the_first_group_that_matches_counts():
    config = OptimizerConfig(
        "sgd",
        beta1=0.0,
        weight_decay=0.0,
        clip_norm=0.0,
        groups=(ParameterGroup("head", "head/", rate=2.0), ParameterGroup("bias", "bias$", rate=3.0)),
    )
    optimizer = make_optimizer(config, make_schedule(ScheduleConfig(1.0, 0, "constant"), STEPS))
    ones = jax.tree.map(np.ones_like, parameters())
    updates, _ = optimizer.update(ones, optimizer.init(ones), ones)
    for name, update in named_leaves(updates).items():
        factor = 2 if "head/" in name else 3 if name.endswith("bias") else 1
        np.testing.assert_array_equal(update, np.full(update.shape, -factor), err_msg=name)


def test_every_learning_rate_is_logged_but_those_of_frozen_groups():
    groups = (
        ParameterGroup("bias", "bias$", rate=0.5),
        ParameterGroup("encoder", "^encoder/", frozen=True),
        ParameterGroup("predictor", "^predictor/", rate=2.0, decay="constant"),
    )
    rates = learning_rates(OptimizerConfig(groups=groups), SCHEDULE)
    assert list(rates) == ["learning_rate", "learning_rate/bias", "learning_rate/predictor"]
    for step in range(STEPS):
        base, bias, predictor = (float(rate(step)) for rate in rates.values())
        assert base == float(SCHEDULE(step))
        assert bias == pytest.approx(0.5 * base)
        assert predictor == pytest.approx(0.1 * min(step / 2, 1))


def test_the_state_of_a_group_lies_where_its_parameters_do():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    config = OptimizerConfig(groups=(ParameterGroup("discriminator", "^discriminator/"),))
    state = jax.eval_shape(make_optimizer(config, SCHEDULE).init, parameters())
    shardings = named_leaves(shard(mesh, (("mlp/kernel$", ("fsdp", None)),), state))
    cut = [name for name, sharding in shardings.items() if sharding.spec == PartitionSpec("fsdp", None)]
    assert len(cut) == 2  # both moments
    assert all("/discriminator/" in name and name.endswith("discriminator/layers/mlp/kernel") for name in cut)


@pytest.mark.parametrize(
    ("group", "match"),
    [
        ({"pattern": "(bias"}, r"ParameterGroup\.pattern '\(bias': expected a regular expression"),
        ({"rate": 0.0}, r"ParameterGroup\.rate 0\.0"),
        ({"beta1": 1.0}, r"ParameterGroup\.beta1 1\.0"),
        ({"beta2": -0.5}, r"ParameterGroup\.beta2 -0\.5"),
        ({"weight_decay": -1.0}, r"ParameterGroup\.weight_decay -1\.0"),
        ({"clip_norm": -1.0}, r"ParameterGroup\.clip_norm -1\.0"),
        ({"name": "a/b"}, r"ParameterGroup\.name 'a/b': expected letters"),
        ({"name": "base"}, r"optimizer\.groups\.0\.name 'base' is taken by the parameters of no group"),
    ],
)
def test_wrong_groups_are_refused_by_name(group, match):
    with pytest.raises(UserError, match=match):
        OptimizerConfig(groups=(ParameterGroup(**{"name": "a", "pattern": "b", **group}),))


def test_two_groups_of_one_name_are_refused():
    with pytest.raises(UserError, match=r"optimizer\.groups\.1\.name 'a' is taken by an earlier group"):
        OptimizerConfig(groups=(ParameterGroup("a", "b"), ParameterGroup("a", "c")))


def test_a_group_without_parameters_is_refused_with_paths_that_there_are():
    config = OptimizerConfig(groups=(ParameterGroup("head", "^head/"),))
    expected = r"groups\.0\.pattern '\^head/' matches no parameter; .* for example, discriminator/head/bias, "
    with pytest.raises(UserError, match=expected):
        jax.jit(make_optimizer(config, SCHEDULE).init)(parameters())


def test_a_group_whose_parameters_are_all_taken_is_refused():
    config = OptimizerConfig(groups=(ParameterGroup("all", ""), ParameterGroup("bias", "bias$")))
    with pytest.raises(
        UserError, match=r"groups\.1\.pattern 'bias\$' .* that an earlier group has not taken"
    ):
        make_optimizer(config, SCHEDULE).init(parameters())


@dataclasses.dataclass(frozen=True)
class Config:
    """The configuration of an experiment, as far as the optimiser goes."""

    optimizer: OptimizerConfig = dataclasses.field(default_factory=OptimizerConfig)


GAN = Config(
    OptimizerConfig(
        groups=(ParameterGroup("discriminator", "^discriminator/", rate=4.0), ParameterGroup("bias", "bias$"))
    )
)


def test_groups_are_set_on_the_command_line():
    given = {"rate": 0.5, "decay": "constant", "rule": "sgd", "beta1": 0.0, "clip_norm": 2.0, "frozen": True}
    words = [word for name, value in given.items() for word in (f"--optimizer.groups.0.{name}", str(value))]
    asked = parse(words, {"gan": GAN}, "experiments.gan").config.optimizer.groups
    assert asked[0] == ParameterGroup("discriminator", "^discriminator/", **given)
    assert asked[1] == ParameterGroup("bias", "bias$")


def test_groups_come_back_from_their_json():
    other = ParameterGroup("generator", "^generator/", decay="rsqrt", beta2=0.5)
    for groups in ((), (other,), (other, *GAN.optimizer.groups)):
        config = Config(OptimizerConfig(groups=groups))
        values = json.loads(json.dumps(dataclasses.asdict(config)))
        for default in (Config(), GAN):
            assert restore_config(default, values) == config
