"""Pairs of views: what the gradient reaches, the moving average, statistics over devices, and collapse."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from experiments import byol, simclr
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.losses.joint_embedding import nt_xent
from ssl_jax.methods.joint_embedding import Network, TargetConfig, joint_embedding, target_decay
from ssl_jax.models.projection import MlpConfig
from ssl_jax.models.resnet import ResNetConfig
from ssl_jax.training.sharding import MeshConfig, make_mesh
from ssl_jax.training.state import initial_state
from ssl_jax.training.step import make_train_step, metric_names

STEPS = 100
VIEW = replace(simclr.PRESETS["digits"].views[0], rotate=0.0, jitter=0.0)
ENCODER = ResNetConfig(blocks=(1,), bottleneck=False, width=8, stem="small")
HEAD = MlpConfig(hidden=(32,), features=16, last_norm="none")


def contrast(first, second, weights):
    return {"loss": nt_xent(first.projection, second.projection, weights, temperature=0.5)}


def spread(first, second, weights):
    return collapse_metrics(first.projection, weights)


def make(loss, *, predictor=None, **settings):
    network = Network(ENCODER, HEAD, predictor)
    return joint_embedding(
        network, loss, views=(VIEW, VIEW), classes=10, steps=STEPS, metrics=spread, **settings
    )


@functools.cache
def make_simclr():
    return make(contrast, views_share_statistics=True)


@functools.cache
def make_byol(start="own"):
    return make(byol.regress, predictor=HEAD, target=TargetConfig(decay=0.9, start=start))


@functools.cache
def batch(size=32):
    images = open_images(ImageConfig()).train
    rows = [images[i] for i in range(size)]
    return {name: jnp.stack([row[name] for row in rows]) for name in rows[0]}


@functools.cache
def first_variables(made):
    return jax.jit(made.method.init)(jax.random.key(0), batch())


def init(made):
    extras = dict(first_variables(made))
    return extras.pop("params"), extras


def total(losses):
    return sum(pair[0] / pair[1] for pair in losses.values())


def test_no_gradient_reaches_the_target():
    made = make_byol()
    params, extras = init(made)

    def loss(params, target):
        changed = {**extras, "target": {**extras["target"], "params": target}}
        return total(made.method.loss(params, changed, batch(), jax.random.key(1))[0])

    online, target = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, extras["target"]["params"])
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(target))
    assert {"encoder", "projector"} == extras["target"]["params"].keys()
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(online["predictor"]["dense1"]))


def test_tau_at_the_first_and_the_last_step():
    config = TargetConfig(decay=0.99)
    assert float(target_decay(config, 1, STEPS)) == pytest.approx(0.99)
    last = 1 - 0.01 * (np.cos(np.pi * (STEPS - 1) / STEPS) + 1) / 2
    assert float(target_decay(config, STEPS, STEPS)) == pytest.approx(last, abs=1e-7)
    assert 1 - last < 3e-6
    assert float(target_decay(config, STEPS // 2 + 1, STEPS)) == pytest.approx(0.995)


def test_the_target_is_the_moving_average_of_the_parameters_alone():
    made = make_byol()
    params, extras = init(made)
    moved = jax.tree.map(lambda x: x + 1.0, params)
    after = made.method.after_update(moved, extras, jnp.int32(1))
    for old, new, now in zip(
        *(
            jax.tree.leaves(tree)
            for tree in (extras["target"]["params"], {n: moved[n] for n in after["target"]["params"]})
        ),
        jax.tree.leaves(after["target"]["params"]),
        strict=True,
    ):
        np.testing.assert_allclose(now, 0.9 * old + 0.1 * new, rtol=1e-6, atol=1e-7)
    assert after["target"]["batch_stats"] is extras["target"]["batch_stats"]


def test_the_target_starts_on_its_own_or_as_a_copy():
    for start, equal in (("own", False), ("copy", True)):
        params, extras = init(make_byol(start))
        kernels = (
            params["encoder"]["stem"]["kernel"],
            extras["target"]["params"]["encoder"]["stem"]["kernel"],
        )
        assert np.array_equal(*kernels) == equal


def test_the_targets_statistics_are_of_its_own_batch():
    made = make_byol()
    params, extras = init(made)
    _, aux = jax.jit(made.method.loss)(params, extras, batch(), jax.random.key(1))
    before, after = (
        e["target"]["batch_stats"]["encoder"]["stem"]["norm"]["mean"] for e in (extras, aux.extras)
    )
    online = aux.extras["batch_stats"]["encoder"]["stem"]["norm"]["mean"]
    assert (before != after).any()
    assert (online != after).any()


def test_labels_move_the_probe_and_nothing_else():
    made = make_simclr()
    params, extras = init(made)

    @jax.jit
    def grads(label):
        rows = {**batch(), "label": label}
        return jax.grad(lambda p: total(made.method.loss(p, extras, rows, jax.random.key(1))[0]))(params)

    one, other = grads(batch()["label"]), grads((batch()["label"] + 1) % 10)
    assert (one["probe"]["kernel"] != other["probe"]["kernel"]).any()
    for name in ("encoder", "projector"):
        for a, b in zip(jax.tree.leaves(one[name]), jax.tree.leaves(other[name]), strict=True):
            np.testing.assert_array_equal(a, b)
    unlabelled = grads(jnp.full(32, -1))
    assert (unlabelled["probe"]["kernel"] == 0).all()


@pytest.mark.parametrize(
    ("make_method", "rounding"), [(make_simclr, 1e-6), (make_byol, 4e-6)], ids=["simclr", "byol"]
)
def test_eight_devices_give_loss_gradient_and_statistics_of_one(make_method, rounding):
    """Batch normalisation and negatives are over the global batch, whoever holds its images.

    rounding: of gradients; BYOL's pass one more network with batch normalisation, which divides by small deviations.
    """
    made = make_method()
    params, extras = init(made)

    @jax.jit
    def step(params, extras, rows):
        def loss(params):
            losses, aux = made.method.loss(params, extras, rows, jax.random.key(1))
            return total(losses), aux.extras

        return jax.value_and_grad(loss, has_aux=True)(params)

    mesh = make_mesh(MeshConfig())
    along = NamedSharding(mesh, PartitionSpec(("data", "fsdp")))
    alone = step(params, extras, batch())
    with jax.set_mesh(mesh):
        whole = jax.device_put((params, extras), NamedSharding(mesh, PartitionSpec()))
        spread = step(*whole, jax.device_put(batch(), along))
    assert float(spread[0][0]) == pytest.approx(float(alone[0][0]), rel=1e-6)
    for part, scale in ((1, rounding), (0, 1e-6)):
        wanted = jax.tree.leaves(alone[part])
        largest = max(float(jnp.abs(leaf).max()) for leaf in wanted)
        for ours, leaf in zip(jax.tree.leaves(spread[part]), wanted, strict=True):
            np.testing.assert_allclose(ours, leaf, rtol=0, atol=scale * max(largest, 1))


def test_statistics_of_both_views_together_or_one_after_the_other():
    together, apart = (make(contrast, views_share_statistics=shared) for shared in (True, False))
    params, extras = init(together)
    seen = [
        jax.jit(made.method.loss)(params, extras, batch(), jax.random.key(1))[1].extras["batch_stats"][
            "encoder"
        ]
        for made in (together, apart)
    ]
    once, twice = (stats["stem"]["norm"]["var"] for stats in seen)
    # From 1, by 0.9: an average of the batch's variance v is 0.9 + 0.1 v after one batch, 0.81 + 0.19 v after two.
    np.testing.assert_allclose((once - 0.9) / 0.1, (twice - 0.81) / 0.19, rtol=0.2)


def spread_after(made, steps=60):
    """`embedding_std` of the projections, in units of what vectors spread over the whole sphere have."""
    optimizer = optax.adam(5e-3)
    step = jax.jit(make_train_step(made.method, optimizer, seed=0))
    names = metric_names(made.method, batch())
    state = jax.jit(lambda: initial_state(made.method, optimizer, names, batch(), 0))()
    for _ in range(steps):
        state, _ = step(state, batch())
    metrics = jax.jit(made.evaluate)(state.params, state.extras, batch(), jax.random.key(2))
    total, weight = metrics["embedding_std"]
    return float(total / weight) * 16**0.5


def test_without_predictor_and_stop_gradient_it_collapses_and_the_diagnostics_see_it():
    def naive(first, second, weights):
        unit = [
            view.projection / jnp.linalg.norm(view.projection, axis=-1, keepdims=True)
            for view in (first, second)
        ]
        return {"loss": (jnp.square(unit[0] - unit[1]).sum(-1) @ weights, weights.sum())}

    healthy, collapsed = spread_after(make_byol()), spread_after(make(naive))
    assert healthy > 0.5
    assert collapsed < 0.15
