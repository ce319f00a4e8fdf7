"""Pairs of views: what the gradient reaches, statistics over devices, and collapse."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import byol
from ssl_jax.errors import UserError
from ssl_jax.losses.joint_embedding import nt_xent
from ssl_jax.method import Mean
from ssl_jax.methods.joint_embedding import Network, embed, pairwise
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.training.state import initial_state
from ssl_jax.training.step import make_train_step, metric_names
from tests.methods.views import ENCODER, HEAD, VIEW, batch, init, loss_gradient_extras, make, total


def contrast(first, second, weights):
    return {"loss": nt_xent(first.projection, second.projection, weights, temperature=0.5)}


@functools.cache
def make_simclr():
    return make(pairwise(contrast), views_share_statistics=True).method


@functools.cache
def make_byol(**target):
    return make(
        pairwise(byol.regress), predictor=HEAD, target=TargetConfig(**{"decay": 0.9, **target})
    ).method


def test_no_gradient_reaches_the_target():
    method = make_byol()
    params, extras = init(method)

    def loss(params, target):
        changed = {**extras, "target": {**extras["target"], "params": target}}
        return total(method.loss(params, changed, batch(), jax.random.key(1))[0])

    online, target = jax.jit(jax.grad(loss, argnums=(0, 1)))(params, extras["target"]["params"])
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(target))
    assert {"encoder", "projector"} == extras["target"]["params"].keys()
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(online["predictor"]["dense1"]))


def test_the_target_starts_on_its_own_or_as_a_copy():
    for start, equal in (("own", False), ("copy", True)):
        params, extras = init(make_byol(start=start))
        kernels = (
            params["encoder"]["stem"]["kernel"],
            extras["target"]["params"]["encoder"]["stem"]["kernel"],
        )
        assert np.array_equal(*kernels) == equal


def test_the_targets_statistics_are_of_its_own_batch():
    method = make_byol()
    _, extras = init(method)
    _, _, changed = loss_gradient_extras(method)
    before, after = (e["target"]["batch_stats"]["encoder"]["stem"]["norm"]["mean"] for e in (extras, changed))
    online = changed["batch_stats"]["encoder"]["stem"]["norm"]["mean"]
    assert (before != after).any()
    assert (online != after).any()


def test_averaged_statistics_make_a_target_a_function_of_its_image_alone():
    """The loss of an image whose neighbours in the batch change differs only by the network's own statistics."""

    def only_target(first, second, weights):
        return {"loss": Mean.of(jnp.square(first.target).sum(-1), weights * (jnp.arange(32) == 0))}

    swapped = {**batch(), "image": batch()["image"].at[1:].set(0)}
    values = {}
    for statistics in ("batch", "average"):
        method = make(pairwise(only_target), target=TargetConfig(statistics=statistics)).method
        params, extras = init(method)
        loss = jax.jit(method.loss)
        values[statistics] = [
            float(loss(params, extras, rows, jax.random.key(1))[0]["loss"].sum) for rows in (batch(), swapped)
        ]
        changed = loss(params, extras, batch(), jax.random.key(1))[1].extras["target"]["batch_stats"]
        same = jax.tree.map(np.array_equal, changed, extras["target"]["batch_stats"])
        assert all(jax.tree.leaves(same)) == (statistics == "average")
    assert values["average"][0] == values["average"][1]
    assert values["batch"][0] != values["batch"][1]


def test_labels_move_the_probe_and_nothing_else():
    method = make_simclr()
    params, extras = init(method)

    @jax.jit
    def grads(label):
        rows = {**batch(), "label": label}
        return jax.grad(lambda p: total(method.loss(p, extras, rows, jax.random.key(1))[0]))(params)

    one, other = grads(batch()["label"]), grads((batch()["label"] + 1) % 10)
    assert (one["probe"]["kernel"] != other["probe"]["kernel"]).any()
    for name in ("encoder", "projector"):
        for a, b in zip(jax.tree.leaves(one[name]), jax.tree.leaves(other[name]), strict=True):
            np.testing.assert_array_equal(a, b)

    losses, _ = jax.jit(method.loss)(
        params, extras, {**batch(), "label": jnp.full(32, -1)}, jax.random.key(1)
    )
    assert (float(losses["probe_loss"].sum), float(losses["probe_loss"].weight)) == (0, 0)


@pytest.mark.parametrize(
    ("make_method", "rounding"), [(make_simclr, 2e-6), (make_byol, 4e-6)], ids=["simclr", "byol"]
)
def test_eight_devices_give_loss_gradient_and_statistics_of_one(make_method, rounding):
    """Batch normalisation and negatives are over the global batch, whoever holds its images.

    rounding: of gradients, as the processor sums: 1.01e-6 with AVX-512 on SimCLR's. BYOL's pass one more network with
      batch normalisation, which divides by small deviations.
    """
    alone, spread = (loss_gradient_extras(make_method(), mesh) for mesh in (None, MeshConfig()))
    assert float(spread[0]) == pytest.approx(float(alone[0]), rel=1e-6)
    for part, scale in ((1, rounding), (2, 1e-6)):
        wanted = jax.tree.leaves(alone[part])
        largest = max(float(jnp.abs(leaf).max()) for leaf in wanted)
        for ours, leaf in zip(jax.tree.leaves(spread[part]), wanted, strict=True):
            np.testing.assert_allclose(ours, leaf, rtol=0, atol=scale * max(largest, 1))


def test_statistics_of_both_views_together_or_one_after_the_other():
    seen = [
        loss_gradient_extras(make(pairwise(contrast), views_share_statistics=shared).method)[2][
            "batch_stats"
        ]["encoder"]
        for shared in (True, False)
    ]
    once, twice = (stats["stem"]["norm"]["var"] for stats in seen)
    # From 1, by 0.9: an average of the batch's variance v is 0.9 + 0.1 v after one batch, 0.81 + 0.19 v after two.
    np.testing.assert_allclose((once - 0.9) / 0.1, (twice - 0.81) / 0.19, rtol=0.2)


def test_views_of_an_evaluation_do_not_depend_on_one_another():
    """They go through the network in one pass for each size; the running statistics do not change."""
    network = Network(ResNet(ENCODER), ProjectionMlp(HEAD))
    images = [jax.random.normal(jax.random.key(i), (4, size, size, 1)) for i, size in enumerate((8, 12, 8))]
    variables = jax.jit(lambda: network.init(jax.random.key(0), images[0], train=True))()
    apply = jax.jit(lambda image: network.apply(variables, image, train=False))
    together = jax.jit(lambda: embed(network, variables, images, train=False, together=False))
    embeddings, statistics = together()
    for image, embedding in zip(images, embeddings, strict=True):
        np.testing.assert_allclose(embedding.projection, apply(image).projection, atol=1e-6)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, statistics, variables["batch_stats"])))


def test_a_loss_on_pairs_refuses_three_views():
    method = make(pairwise(contrast), views=3 * (VIEW,)).method
    with pytest.raises(UserError, match="compares 2 views of an image, not 3"):
        jax.eval_shape(lambda: method.loss(*init(method), batch(), jax.random.key(1)))


def spread_after(method, steps=60):
    """`embedding_std` of the projections, in units of what vectors spread over the whole sphere have."""
    optimizer = optax.adam(5e-3)
    step = jax.jit(make_train_step(method, optimizer, seed=0))
    names = metric_names(method, batch())
    state = jax.jit(lambda: initial_state(method, optimizer, names, batch(), 0))()
    for _ in range(steps):
        state, _ = step(state, batch())
    metrics = jax.jit(method.evaluate)(state.params, state.extras, batch(), jax.random.key(2))
    total, weight = metrics["embedding_std"]
    return float(total / weight) * 16**0.5


def test_without_predictor_and_stop_gradient_it_collapses_and_the_diagnostics_see_it():
    def naive(first, second, weights):
        unit = [
            view.projection / jnp.linalg.norm(view.projection, axis=-1, keepdims=True)
            for view in (first, second)
        ]
        return {"loss": Mean.of(jnp.square(unit[0] - unit[1]).sum(-1), weights)}

    healthy, collapsed = spread_after(make_byol()), spread_after(make(pairwise(naive)).method)
    assert healthy > 0.5
    assert collapsed < 0.15
