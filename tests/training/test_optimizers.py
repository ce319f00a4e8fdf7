"""Update rules against NumPy written from the papers, and which parameters they treat how."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from experiments import barlow_twins, simsiam
from ssl_jax.errors import UserError
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.training.optimizers import OptimizerConfig, learning_rates, make_optimizer, stacked_layers
from ssl_jax.training.paths import named_leaves
from ssl_jax.training.schedules import ScheduleConfig, make_schedule

LAYERS, WIDTH = 3, 4
RATES = [0.0, 0.01, 0.02, 0.015, 0.01]  # of the steps of every run here


def parameters(seed=0):
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return rng.normal(size=shape).astype(np.float32)

    layer = {
        "attention": {"qkv": {"kernel": draw(LAYERS, WIDTH, 3, 1, 2), "bias": draw(LAYERS, 3, 1, 2)}},
        "mlp_norm": {"scale": draw(LAYERS, WIDTH), "bias": draw(LAYERS, WIDTH)},
    }
    return {
        "encoder": {
            "embeddings": {"tokens": {"embedding": draw(9, WIDTH)}, "norm": {"scale": draw(WIDTH)}},
            "layers": layer,
        },
        "head": {"kernel": draw(WIDTH, 2), "bias": draw(2)},
    }


def schedule(step):
    return jnp.asarray(RATES)[step]


def run(config, gradients=None):
    """The named parameters after each step."""
    optimizer = make_optimizer(config, schedule)
    params = jax.tree.map(jnp.asarray, parameters())
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    history = [named_leaves(params)]
    for step in range(len(RATES)):
        grads = parameters(step + 1) if gradients is None else gradients
        updates, state = update(grads, state, params)
        params = optax.apply_updates(params, updates)
        history.append(named_leaves(params))
    return history


def clipped(grads, norm):
    total = np.sqrt(sum(np.sum(np.square(grad, dtype=np.float64)) for grad in grads.values()))
    return {name: grad * min(1, norm / total) for name, grad in grads.items()}


def adam_run(config, bias_correction):
    """Adam with decoupled weight decay (arXiv:1412.6980, algorithm 1; arXiv:1711.05101, algorithm 2), and AMSGrad."""
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    m, v, largest = ({name: np.zeros_like(leaf) for name, leaf in params.items()} for _ in range(3))
    for step, lr in enumerate(RATES):
        grads = clipped(named_leaves(parameters(step + 1)), config.clip_norm)
        for name, grad in grads.items():
            m[name] = config.beta1 * m[name] + (1 - config.beta1) * grad
            v[name] = config.beta2 * v[name] + (1 - config.beta2) * grad**2
            m_hat, v_hat = m[name], v[name]
            if bias_correction:
                m_hat, v_hat = (
                    m_hat / (1 - config.beta1 ** (step + 1)),
                    v_hat / (1 - config.beta2 ** (step + 1)),
                )
            if config.name == "amsgrad":
                v_hat = largest[name] = np.maximum(largest[name], v_hat)
            decay = 0 if name.endswith(("bias", "scale")) else config.weight_decay
            params[name] = params[name] - lr * (
                m_hat / (np.sqrt(v_hat) + config.epsilon) + decay * params[name]
            )
    return params


@pytest.mark.parametrize(
    ("name", "bias_correction"), [("adamw", True), ("amsgrad", True), ("bert_adam", False)]
)
def test_adam_equals_numpy(name, bias_correction):
    config = OptimizerConfig(name=name, weight_decay=0.1, beta2=0.9)  # so that means of squares fall, too
    ours, reference = run(config)[-1], adam_run(config, bias_correction)
    for leaf in reference:
        np.testing.assert_allclose(ours[leaf], reference[leaf], rtol=2e-5, atol=1e-6, err_msg=leaf)


def test_adamw_equals_optax():
    config = OptimizerConfig(weight_decay=0.1, no_decay="^$", clip_norm=0)
    params, reference = parameters(), optax.adamw(schedule, eps=1e-6, weight_decay=0.1)
    state = reference.init(params)
    for step in range(len(RATES)):
        updates, state = reference.update(parameters(step + 1), state, params)
        params = optax.apply_updates(params, updates)
    ours = run(config)[-1]
    for name, leaf in named_leaves(params).items():
        np.testing.assert_allclose(ours[name], leaf, rtol=1e-6, atol=1e-7)


def norm_of_each(name, x):
    """The norm of each kernel: of every layer of a stack, and there of the queries, of the keys and of the values."""
    axes = None
    if "/layers/" in name:
        axes = (1, 3, 4) if "/qkv/" in name else tuple(range(1, x.ndim))
    return np.sqrt(np.square(x).sum(axes, keepdims=True))


def test_lamb_adapts_each_kernel_by_itself():
    """One step of arXiv:1904.00962, algorithm 2; the first step of Adam with bias correction is g / (|g| + eps)."""
    config = OptimizerConfig(name="lamb", weight_decay=0.1, clip_norm=0)
    lr = 0.5
    optimizer = make_optimizer(config, lambda step: lr)
    params, grads = parameters(), parameters(1)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    params, grads = named_leaves(params), named_leaves(grads)
    for name, ours in named_leaves(updates).items():
        step = grads[name] / (np.abs(grads[name]) + config.epsilon)
        if not name.endswith(("bias", "scale")):
            step = step + 0.1 * params[name]
            step = step * norm_of_each(name, params[name]) / norm_of_each(name, step)
        np.testing.assert_allclose(ours, -lr * step, rtol=1e-5, err_msg=name)


def test_sgd_has_momentum_beta1():
    config = OptimizerConfig(name="sgd", weight_decay=0.1, clip_norm=0)
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    momentum = dict.fromkeys(params, 0.0)
    for step, lr in enumerate(RATES):
        for name, grad in named_leaves(parameters(step + 1)).items():
            decay = 0 if name.endswith(("bias", "scale")) else 0.1
            momentum[name] = 0.9 * momentum[name] + grad + decay * params[name]
            params[name] = params[name] - lr * momentum[name]
    ours = run(config)[-1]
    for name in params:
        np.testing.assert_allclose(ours[name], params[name], rtol=1e-5, atol=1e-6)


def trust_ratios(name, param, update):
    """LARS's factor on an update (arXiv:1708.03888, equation 6, without the rate); of each layer in a stack."""
    if name.endswith(("bias", "scale")):
        return 1.0
    return 0.02 * norm_of_each(name, param) / norm_of_each(name, update)


@pytest.mark.parametrize("rate_in_momentum", [True, False])
@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_lars_equals_numpy(rate_in_momentum, clip_norm):
    """Where the rate stands shows since it changes: v = mv + rate u, p -= v; or v = mv + u, p -= rate v."""
    config = OptimizerConfig(
        name="lars",
        weight_decay=0.1,
        clip_norm=clip_norm,
        trust_coefficient=0.02,
        rate_in_momentum=rate_in_momentum,
    )
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    momentum = dict.fromkeys(params, 0.0)
    history = run(config)
    for step, rate in enumerate(RATES):
        for name, grad in clipped(named_leaves(parameters(step + 1)), clip_norm or np.inf).items():
            decay = 0 if name.endswith(("bias", "scale")) else 0.1
            grad = np.float64(grad) + decay * params[name]
            grad = trust_ratios(name, params[name], grad) * grad
            if rate_in_momentum:
                momentum[name] = 0.9 * momentum[name] + rate * grad
                params[name] = params[name] - momentum[name]
            else:
                momentum[name] = 0.9 * momentum[name] + grad
                params[name] = params[name] - rate * momentum[name]
        for name, ours in history[step + 1].items():
            np.testing.assert_allclose(ours, params[name], rtol=1e-5, atol=1e-6, err_msg=name)


def test_the_clipped_rate_of_lars_equals_numpy():
    """The rate of a layer is the smaller one of LARS's without the learning rate, and of the learning rate."""
    config = OptimizerConfig(
        name="lars",
        weight_decay=0.1,
        clip_norm=0,
        trust_coefficient=0.013,
        rate_in_momentum=False,
        clip_rate=True,
    )
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    momentum, sides = dict.fromkeys(params, 0.0), set()
    history = run(config)
    for step, rate in enumerate(RATES):
        for name, grad in named_leaves(parameters(step + 1)).items():
            factor = 1.0
            if not name.endswith(("bias", "scale")):
                grad = grad + 0.1 * params[name]
                own = 0.013 * norm_of_each(name, params[name]) / norm_of_each(name, grad)
                factor = np.minimum(own / rate, 1) if rate else 1.0
                sides |= set(np.ravel(own < rate))
            momentum[name] = 0.9 * momentum[name] + factor * grad
            params[name] = params[name] - rate * momentum[name]
        for name, ours in history[step + 1].items():
            np.testing.assert_allclose(ours, params[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert sides == {True, False}  # some rates are clipped, others are not


def test_nesterovs_momentum_looks_one_step_ahead():
    """The update is g + m v with v = m v + g (Sutskever et al. 2013, in the form of torch.optim.SGD)."""
    config = OptimizerConfig(name="sgd", weight_decay=0, clip_norm=0, nesterov=True)
    params = {name: np.float64(leaf) for name, leaf in named_leaves(parameters()).items()}
    momentum = dict.fromkeys(params, 0.0)
    for step, lr in enumerate(RATES):
        for name, grad in named_leaves(parameters(step + 1)).items():
            momentum[name] = 0.9 * momentum[name] + grad
            params[name] = params[name] - lr * (grad + 0.9 * momentum[name])
    ours = run(config)[-1]
    for name in params:
        np.testing.assert_allclose(ours[name], params[name], rtol=1e-5, atol=1e-6)


def test_lars_equals_optax_where_nothing_is_stacked():
    """optax.lars has the rate in the momentum, and takes a stack or a fused kernel for one layer."""

    def unstacked(tree):
        return named_leaves({"trunk": tree["encoder"]["layers"]["attention"]["qkv"], "head": tree["head"]})

    params = unstacked(parameters())
    cosine = make_schedule(ScheduleConfig(learning_rate=0.3, warmup_steps=2, decay="cosine"), steps=6)

    def adapts(tree):
        return {name: not name.endswith(("bias", "scale")) for name in tree}

    theirs = optax.lars(cosine, 1e-2, weight_decay_mask=adapts, trust_ratio_mask=adapts, momentum=0.9)
    ours = make_optimizer(OptimizerConfig(name="lars", weight_decay=1e-2, clip_norm=0), cosine)
    ends = []
    for optimizer in (theirs, ours):
        leaves = jax.tree.map(jnp.asarray, params)
        state, update = optimizer.init(leaves), jax.jit(optimizer.update)
        for step in range(6):
            updates, state = update(unstacked(parameters(step + 1)), state, leaves)
            leaves = optax.apply_updates(leaves, updates)
        ends.append(leaves)
    for name, leaf in ends[0].items():
        assert np.any(leaf != params[name])
        np.testing.assert_allclose(ends[1][name], leaf, rtol=1e-6, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("zero", ["parameters", "gradients"])
def test_lars_does_not_scale_a_layer_whose_norm_is_zero(zero):
    """The second layer of a stack; the others have their own ratios."""
    params, grads = parameters(), parameters(1)
    (params if zero == "parameters" else grads)["encoder"]["layers"]["attention"]["qkv"]["kernel"][1] = 0
    config = OptimizerConfig(name="lars", weight_decay=0.0, clip_norm=0, trust_coefficient=0.02)
    optimizer = make_optimizer(config, lambda step: 0.5)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    name = "encoder/layers/attention/qkv/kernel"
    found, param, grad = (named_leaves(tree)[name] for tree in (updates, params, grads))
    np.testing.assert_allclose(found[1], -0.5 * grad[1], rtol=1e-6)
    kept = np.array([0, 2])
    ratios = trust_ratios(name, param[kept], grad[kept])
    np.testing.assert_allclose(found[kept], -0.5 * ratios * grad[kept], rtol=1e-5)


def test_lars_excludes_every_norm_and_bias_of_a_resnet_and_its_heads():
    """By path: excluded is what neither decays nor is adapted, and moves as under plain SGD."""

    def init(x):
        keys = jax.random.split(jax.random.key(0), 3)
        trunk = ResNetConfig((1, 2), width=4, stem="cifar", zero_init_residual=False)
        predictor = MlpConfig((8,), 8, last_norm="none", last_bias=True)
        return {
            "encoder": ResNet(trunk).init(keys[0], x, True)["params"],
            "projector": ProjectionMlp(MlpConfig((8,), 8)).init(keys[1], jnp.ones((2, 32)), True)["params"],
            "predictor": ProjectionMlp(predictor).init(keys[2], jnp.ones((2, 8)), True)["params"],
        }

    shapes = jax.eval_shape(init, jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    grads = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    optimizer = make_optimizer(OptimizerConfig(name="lars", weight_decay=0.1, clip_norm=0), lambda step: 1.0)
    updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)

    def blocks(*names):
        convolutions = [*(f"convolution{i}" for i in (1, 2, 3)), "shortcut"]
        return {
            f"encoder/{block}/{convolution}/norm/{field}"
            for block in names
            for convolution in convolutions[: 3 if "layers" in block else 4]
            for field in ("scale", "bias")
        }

    excluded = {
        "encoder/stem/norm/scale",
        "encoder/stem/norm/bias",
        *blocks("stage1/first", "stage2/first", "stage2/layers"),
        "projector/norm1/scale",
        "projector/norm1/bias",
        "projector/norm2/scale",
        "predictor/norm1/scale",
        "predictor/norm1/bias",
        "predictor/dense2/bias",
    }
    updates = named_leaves(updates)
    assert {name for name, update in updates.items() if np.all(update == -0.5)} == excluded
    kernels = updates.keys() - excluded
    assert all(name.endswith("/kernel") for name in kernels)
    for name in kernels:  # of the norm of the parameters, which are ones, a thousandth
        np.testing.assert_allclose(updates[name], np.full_like(updates[name], -1e-3), rtol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "amsgrad", "bert_adam", "lamb", "lars", "sgd"])
def test_biases_and_norms_do_not_decay(name):
    """Without gradients, what moves is what decays."""
    zeros = jax.tree.map(np.zeros_like, parameters())
    before, *_, after = run(OptimizerConfig(name=name), gradients=zeros)
    moved = {leaf for leaf in before if np.any(before[leaf] != after[leaf])}
    assert moved == {
        "encoder/embeddings/tokens/embedding",
        "encoder/layers/attention/qkv/kernel",
        "head/kernel",
    }


def test_decay_is_taken_times_the_learning_rate():
    zeros = jax.tree.map(np.zeros_like, parameters())
    before, *_, after = run(OptimizerConfig(name="bert_adam"), gradients=zeros)
    factor = np.prod(1 - 0.01 * np.array(RATES))
    np.testing.assert_allclose(after["head/kernel"], factor * before["head/kernel"], rtol=1e-6)


def test_no_decay_is_a_regular_expression_of_paths():
    zeros = jax.tree.map(np.zeros_like, parameters())
    before, *_, after = run(OptimizerConfig(no_decay="^encoder/|bias$"), gradients=zeros)
    assert {leaf for leaf in before if np.any(before[leaf] != after[leaf])} == {"head/kernel"}


def test_warm_up_starts_with_a_step_of_size_0():
    before, after, *_ = run(OptimizerConfig())
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_clipping_is_by_the_norm_of_all_gradients():
    def first_step(clip_norm, factor):
        optimizer = make_optimizer(
            OptimizerConfig(name="sgd", weight_decay=0, clip_norm=clip_norm), lambda step: 1.0
        )
        grads = jax.tree.map(lambda g: factor * g, parameters(1))
        return optimizer.update(grads, optimizer.init(grads), parameters())[0]

    norm = float(optax.tree.norm(parameters(1)))
    assert optax.tree.norm(first_step(0.5, 1.0)) == pytest.approx(0.5, rel=1e-5)
    assert optax.tree.norm(first_step(0.5, 0.1 / norm)) == pytest.approx(0.1, rel=1e-5)
    assert optax.tree.norm(first_step(0, 1.0)) == pytest.approx(norm, rel=1e-5)


def scales(config, params):
    """The factor on the learning rate of each parameter, seen from the updates of plain SGD."""
    optimizer = make_optimizer(config, lambda step: 1.0)
    ones = jax.tree.map(np.ones_like, params)
    return named_leaves(jax.tree.map(lambda u: -u, optimizer.update(ones, optimizer.init(ones), ones)[0]))


def test_layer_decay_is_electras():
    """Depths: embeddings 0, layer i at i + 1, the head at n + 1, whose rate is the schedule's (arXiv:2003.10555)."""
    config = OptimizerConfig(name="sgd", weight_decay=0, clip_norm=0, layer_decay=0.8)
    found = scales(config, parameters())
    np.testing.assert_allclose(
        found["encoder/embeddings/tokens/embedding"], np.full((9, WIDTH), 0.8**4), rtol=1e-6
    )
    np.testing.assert_allclose(found["encoder/embeddings/norm/scale"], np.full(WIDTH, 0.8**4), rtol=1e-6)
    for layer, scale in enumerate([0.8**3, 0.8**2, 0.8]):
        np.testing.assert_allclose(
            found["encoder/layers/attention/qkv/kernel"][layer], np.full((WIDTH, 3, 1, 2), scale), rtol=1e-6
        )
        np.testing.assert_allclose(
            found["encoder/layers/mlp_norm/bias"][layer], np.full(WIDTH, scale), rtol=1e-6
        )
    np.testing.assert_array_equal(found["head/kernel"], np.ones((WIDTH, 2)))
    np.testing.assert_array_equal(found["head/bias"], np.ones(2))


def test_shared_layers_are_one_layer():
    """ALBERT: one set of parameters below `layers`, without an axis of layers."""
    shared = {
        "embeddings": {"tokens": np.ones((9, WIDTH))},
        "layers": {"mlp": {"kernel": np.ones((WIDTH, 6)), "bias": np.ones(6)}},
    }
    assert stacked_layers(shared) == {}
    config = OptimizerConfig(name="sgd", weight_decay=0, clip_norm=0, layer_decay=0.5)
    found = scales(config, shared)
    np.testing.assert_array_equal(found["layers/mlp/kernel"], np.full((WIDTH, 6), 0.5))
    np.testing.assert_array_equal(found["embeddings/tokens"], np.full((9, WIDTH), 0.25))


def test_stacks_are_found_by_path():
    two = {
        "encoder": parameters()["encoder"],
        "decoder": {"layers": {"norm": {"scale": np.ones((5, WIDTH))}}},
    }
    assert stacked_layers(two) == {"encoder/layers": LAYERS, "decoder/layers": 5}


@pytest.mark.parametrize("name", ["adamw", "amsgrad", "bert_adam", "lamb", "lars", "sgd"])
def test_sharded_updates_equal_unsharded_ones(name):
    config = OptimizerConfig(name=name, layer_decay=0.8)
    mesh = jax.make_mesh((2,), ("fsdp",), axis_types=(AxisType.Auto,))

    def shard(tree):
        def place(leaf):
            axes = [None] * (leaf.ndim - 1) + ["fsdp"]
            return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec(*axes)))

        return jax.tree.map(place, tree)

    optimizer = make_optimizer(config, lambda step: 0.01)
    update = jax.jit(lambda params, grads: optimizer.update(grads, optimizer.init(params), params)[0])
    one = update(parameters(), parameters(1))
    two = update(shard(parameters()), shard(parameters(1)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), one, two)


def barlow_rate(base, batch_size, step, steps, warmup):
    """adjust_learning_rate of facebookresearch/barlowtwins, main.py."""
    rate = batch_size / 256
    if step < warmup:
        return base * rate * step / warmup
    q = 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
    return base * (rate * q + 0.001 * rate * (1 - q))


def simsiam_rate(base, batch_size, step, steps):
    """adjust_learning_rate of facebookresearch/simsiam, main_simsiam.py; there it changes once an epoch."""
    return base * batch_size / 256 * 0.5 * (1 + math.cos(math.pi * step / steps))


REFERENCES = {
    # main.py: --learning-rate-weights 0.2, --learning-rate-biases 0.0048, --batch-size 2048, --weight-decay 1e-6, LARS
    # with momentum 0.9 and eta 0.001, a warm-up of 10 epochs of 1,000.
    "barlow_twins imagenet": (
        barlow_twins.PRESETS["imagenet"],
        ("lars", 0.9, 1e-6, 0.0, 0.001, False),
        {
            "learning_rate": lambda step, steps: barlow_rate(0.2, 2048, step, steps, steps // 100),
            "learning_rate/bias": lambda step, steps: barlow_rate(0.0048, 2048, step, steps, steps // 100),
        },
    ),
    # main_simsiam.py: --lr 0.05, --batch-size 512, --momentum 0.9, --wd 1e-4, --fix-pred-lr.
    "simsiam imagenet": (
        simsiam.PRESETS["imagenet"],
        ("sgd", 0.9, 1e-4, 0.0),
        {
            "learning_rate": lambda step, steps: simsiam_rate(0.05, 512, step, steps),
            "learning_rate/predictor": lambda step, steps: 0.05 * 512 / 256,
        },
    ),
    # arXiv:2011.10566, appendix D: a base rate of 0.03 and a weight decay of 0.0005, otherwise as on ImageNet.
    "simsiam cifar10": (
        simsiam.PRESETS["cifar10"],
        ("sgd", 0.9, 5e-4, 0.0),
        {
            "learning_rate": lambda step, steps: simsiam_rate(0.03, 512, step, steps),
            "learning_rate/predictor": lambda step, steps: 0.03 * 512 / 256,
        },
    ),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_presets_have_the_optimisers_of_the_released_code(name):
    preset, settings, rates = REFERENCES[name]
    optimizer = preset.optimizer
    found = (optimizer.name, optimizer.beta1, optimizer.weight_decay, optimizer.clip_norm)
    found += (optimizer.trust_coefficient, optimizer.rate_in_momentum)
    assert found[: len(settings)] == settings
    ours = learning_rates(optimizer, make_schedule(preset.schedule, preset.steps))
    assert ours.keys() == rates.keys()
    for step in (0, 1, preset.steps // 200, preset.steps // 100, preset.steps // 2, preset.steps - 1):
        for which, rate in ours.items():
            wanted = rates[which](step, preset.steps)
            assert float(rate(step)) == pytest.approx(wanted, rel=1e-4, abs=1e-7), (which, step)


def test_groups_of_presets_take_the_parameters_that_the_released_code_does():
    """Barlow Twins: `param.ndim == 1`, in our names every bias and scale; SimSiam: `model.predictor`."""
    for preset, build in (
        (barlow_twins.PRESETS["imagenet"], barlow_twins.build),
        (simsiam.PRESETS["imagenet"], simsiam.build),
    ):
        (group,) = preset.optimizer.groups
        experiment = build(preset)
        init = experiment.method.init
        names = named_leaves(jax.eval_shape(init, jax.random.key(0), experiment.phases[0].batch)["params"])
        taken = {name for name in names if re.search(group.pattern, name)}
        if group.name == "bias":
            wanted = {name for name in names if name.endswith(("bias", "scale"))} - {"probe/bias"}
        else:
            wanted = {name for name in names if name.startswith("predictor/")}
        assert taken == wanted
        assert len(wanted) == {"bias": 62, "predictor": 5}[group.name]


@pytest.mark.parametrize(
    "field",
    [
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"epsilon": -1.0},
        {"weight_decay": -0.1},
        {"clip_norm": -1.0},
        {"trust_coefficient": 0.0},
        {"layer_decay": 0.0},
        {"no_decay": "(bias"},
    ],
)
def test_wrong_configurations_are_refused(field):
    with pytest.raises(UserError, match=rf"OptimizerConfig\.{next(iter(field))}"):
        OptimizerConfig(**field)
