"""Losses on any number of views: their state, labels, and views that only one of two networks sees."""

import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import dino, moco
from ssl_jax.losses.joint_embedding import normalise, nt_xent
from ssl_jax.method import Aux, Mean
from ssl_jax.methods.joint_embedding import Network, ViewsLoss, joint_embedding, pairwise
from ssl_jax.methods.target_network import TargetConfig
from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.models.resnet import ResNet
from ssl_jax.training.sharding import MeshConfig
from ssl_jax.training.step import gradients, make_initial_state, make_train_step, split_batch, step_rng
from tests.methods.views import ENCODER, HEAD, VIEW, batch, init, loss_gradient_extras, make, total

SMALL = replace(VIEW, size=6)


def spread(view):
    return jnp.square(view.projection - 1).mean(-1)


def count(views, batch, state):
    """A loss whose state counts its calls, and sums the labels that it was called with."""
    losses = {"loss": Mean.of(spread(views[0]), batch["example_weight"]).scaled(1 + state["labels"])}
    state = {
        "calls": state["calls"] + 1,
        "labels": state["labels"] + batch["label"].sum(),
        "step": state["step"],
    }
    return losses, Aux({"calls": Mean(jnp.float32(state["calls"]), jnp.float32(1))}, state)


@functools.cache
def counting():
    zeros = {"calls": jnp.int32(0), "labels": jnp.int32(0), "step": jnp.int32(0)}
    return make(ViewsLoss(count, lambda rng: zeros, lambda state, step: {**state, "step": 10 * step})).method


def test_the_state_goes_through_every_micro_batch():
    method = counting()
    params, extras = init(method)
    assert {name: int(value) for name, value in extras["loss_state"].items()} == dict.fromkeys(
        ("calls", "labels", "step"), 0
    )
    rngs = jax.vmap(lambda part: step_rng(0, 1, part))(jnp.arange(4))
    _, _, metrics, changed = jax.jit(lambda params, extras: gradients(method, params, extras, batch(), rngs))(
        params, extras
    )
    state = changed["loss_state"]
    assert int(state["calls"]) == 4
    assert int(state["labels"]) == int(batch()["label"].sum())
    assert float(metrics["calls"].sum) == 1 + 2 + 3 + 4
    after = method.after_update(params, changed, jnp.int32(7))
    assert int(after["loss_state"]["step"]) == 70
    assert after["batch_stats"] is changed["batch_stats"]


def test_an_evaluation_reads_the_state_as_it_is():
    method = counting()
    params, extras = init(method)
    evaluate = jax.jit(method.evaluate)
    first, again = (evaluate(params, extras, batch(), jax.random.key(2)) for _ in range(2))
    assert float(first["loss"].sum) == float(again["loss"].sum)
    later = {**extras, "loss_state": {**extras["loss_state"], "labels": jnp.int32(1)}}
    changed = evaluate(params, later, batch(), jax.random.key(2))
    assert float(changed["loss"].sum) == pytest.approx(2 * float(first["loss"].sum))
    assert {"embedding_std", "probe_accuracy", "calls"} <= first.keys()


def seen_by(network_views, target_views):
    """Which views have a projection and which a target, in training and in an evaluation."""
    found = {}

    def loss(views, batch, state):
        found[len(found)] = [(v.projection is not None, v.target is not None) for v in views]
        return {"loss": Mean.of(spread(views[0]), batch["example_weight"])}, Aux({}, None)

    method = make(
        ViewsLoss(loss),
        views=(VIEW, VIEW, SMALL),
        target=TargetConfig(),
        network_views=network_views,
        target_views=target_views,
    ).method
    variables = init(method)
    jax.eval_shape(lambda: method.loss(*variables, batch(), jax.random.key(1)))
    jax.eval_shape(lambda: method.evaluate(*variables, batch(), jax.random.key(1)))
    return found


@pytest.mark.parametrize(
    ("network_views", "target_views", "training", "evaluation"),
    [
        (None, None, [(1, 1), (1, 1), (1, 1)], [(1, 1), (1, 1), (1, 1)]),
        (None, (0, 1), [(1, 1), (1, 1), (1, 0)], [(1, 1), (1, 1), (1, 0)]),
        ((0,), (1,), [(1, 0), (0, 1), (0, 0)], [(1, 0), (1, 1), (1, 0)]),
    ],
)
def test_each_network_sees_the_views_that_it_is_given(network_views, target_views, training, evaluation):
    found = seen_by(network_views, target_views)
    assert found[0] == training
    assert found[1] == evaluation


def test_a_network_without_batch_statistics():
    class Flat(nn.Module):
        @nn.compact
        def __call__(self, images, train):
            return nn.Dense(8)(images.reshape(len(images), -1))

    network = Network(Flat(), ProjectionMlp(MlpConfig((), 4, last_norm="none")))
    loss = pairwise(lambda first, second, weights: {"loss": Mean.of(spread(first) + spread(second), weights)})
    made = joint_embedding(network, loss, views=(VIEW, VIEW), classes=10, steps=9, target=TargetConfig())
    method = made.method
    params, extras = init(method)
    losses, aux = jax.jit(method.loss)(params, extras, batch(), jax.random.key(1))
    assert float(total(losses)) > 0
    assert jax.tree.structure(aux.extras) == jax.tree.structure(extras)
    after = method.after_update(params, aux.extras, jnp.int32(1))
    assert jax.tree.structure(after) == jax.tree.structure(extras)
    assert made.represent(params, extras, batch()).shape == (32, 8)


def test_views_of_one_size_are_one_batch_and_all_embeddings_come_in_the_order_of_the_views():
    """Statistics and projections are those of the network applied by hand to views of 6 and twice 8 pixels."""

    def loss(views, batch, state):
        projections = [view.projection for view in views]
        return {"loss": Mean.of(spread(views[0]), batch["example_weight"])}, Aux({}, projections)

    start = [jnp.zeros((32, 16))] * 3
    plain = replace(VIEW, crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), translate=0.0, flip=0.0)
    views = (plain, replace(plain, size=6), replace(plain, solarise=1.0))
    method = make(ViewsLoss(loss, lambda rng: start), views=views, views_share_statistics=True).method
    params, extras = init(method)
    changed = loss_gradient_extras(method)[2]

    images = batch()["image"].astype(jnp.float32) / 255
    pairs = jnp.stack([images, jnp.where(images >= 0.5, 1 - images, images)], 1).reshape(-1, 8, 8, 1)
    network = Network(ResNet(ENCODER), ProjectionMlp(HEAD))
    apply = functools.partial(network.apply, train=True, mutable=["batch_stats"])
    together, first = jax.jit(apply)({"params": params, "batch_stats": extras["batch_stats"]}, pairs)
    found = changed["loss_state"]
    np.testing.assert_allclose(found[0], together.projection[::2], atol=2e-4)
    np.testing.assert_allclose(found[2], together.projection[1::2], atol=2e-4)
    assert not np.allclose(found[1], found[0], atol=1e-2)
    # The statistics of the two larger views, then those of the smaller one on top.
    for before, after, final in zip(
        *map(jax.tree.leaves, (extras["batch_stats"], first["batch_stats"], changed["batch_stats"])),
        strict=True,
    ):
        step = jnp.abs(after - before).max()
        assert float(jnp.abs(final - after).max()) > 0 or float(step) == 0


def supervised_contrastive(temperature):
    """arXiv:2004.11362, equation 2: every view of an image of the same class is a positive."""

    def loss(views, batch, state):
        z = jnp.concatenate([normalise(view.projection) for view in views])
        labels, weights = (jnp.tile(batch[name], len(views)) for name in ("label", "example_weight"))
        others = (1 - jnp.eye(len(z))) * weights[None]
        similarity = z @ z.T / temperature
        logs = similarity - jax.nn.logsumexp(similarity, axis=1, b=others, keepdims=True)
        positives = others * (labels[:, None] == labels[None])
        losses = -(positives * logs).sum(1) / positives.sum(1)
        return {"loss": Mean.of(losses, weights)}, Aux({}, state)

    return loss


def supervised_contrastive_of_the_paper(projections, labels, temperature):
    z = np.concatenate(projections).astype(np.float64)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    labels = np.tile(labels, len(projections))
    losses = []
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        scale = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
        positives = [p for p in others if labels[p] == labels[i]]
        losses.append(-np.mean([np.log(np.exp(z[i] @ z[p] / temperature) / scale) for p in positives]))
    return np.mean(losses)


def test_labels_reach_a_loss():
    def keeping(views, batch, state):
        losses, _ = supervised_contrastive(0.1)(views, batch, None)
        return losses, Aux({}, [view.projection for view in views])

    method = make(ViewsLoss(keeping, lambda rng: [jnp.zeros((32, 16))] * 2)).method
    params, extras = init(method)
    loss = jax.jit(lambda params, rows: method.loss(params, extras, rows, jax.random.key(1)))
    losses, aux = loss(params, batch())
    wanted = supervised_contrastive_of_the_paper(
        [np.asarray(z) for z in aux.extras["loss_state"]], np.asarray(batch()["label"]), 0.1
    )
    assert float(losses["loss"].sum / losses["loss"].weight) == pytest.approx(wanted, rel=1e-5)
    permuted = {**batch(), "label": jnp.roll(batch()["label"], 1)}
    other, _ = loss(params, permuted)
    assert abs(float(other["loss"].sum - losses["loss"].sum)) > 0.1
    grads = [jax.grad(lambda p, r=r: total(loss(p, r)[0]))(params)["encoder"] for r in (batch(), permuted)]
    differences = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), *grads)
    assert max(jax.tree.leaves(differences)) > 1e-3


BATCH_32 = {"batch_size": 32}


@functools.cache
def small_moco(queue=2048):
    preset = moco.PRESETS["digits"]
    head = MlpConfig(hidden=(32,), hidden_norm=False, features=16, last_norm="none", last_bias=True)
    config = replace(
        preset,
        queue=queue,
        encoder=ENCODER,
        views=2 * (VIEW,),
        projector=head,
        train=replace(preset.train, **BATCH_32),
    )
    return moco.build(config).method


@functools.cache
def small_dino(**settings):
    preset = dino.PRESETS["digits"]
    config = replace(
        preset,
        encoder=ENCODER,
        projector=MlpConfig(hidden=(32,), features=16, last_norm="none", last_bias=True),
        train=replace(preset.train, **BATCH_32),
        **{"views": (VIEW, VIEW, SMALL), **settings},
    )
    return dino.build(config).method


@pytest.mark.parametrize("make_method", [small_moco, small_dino], ids=["moco", "dino"])
@pytest.mark.parametrize("mesh", [MeshConfig(data=8), MeshConfig(data=1, fsdp=8)], ids=["data", "fsdp"])
def test_eight_devices_give_loss_gradient_and_state_of_one(make_method, mesh):
    """The queue and the centre are those of the global batch; with fsdp, the queue is cut over the devices."""
    alone, eight = (loss_gradient_extras(make_method(), where) for where in (None, mesh))
    assert float(eight[0]) == pytest.approx(float(alone[0]), rel=2e-6)
    for part, scale in ((1, 1e-5), (2, 2e-6)):
        wanted = jax.tree.leaves(alone[part])
        largest = max(float(jnp.abs(leaf).max()) for leaf in wanted)
        for ours, leaf in zip(jax.tree.leaves(eight[part]), wanted, strict=True):
            np.testing.assert_allclose(ours, leaf, rtol=0, atol=scale * max(largest, 1))


@pytest.mark.parametrize("make_method", [small_moco, small_dino], ids=["moco", "dino"])
def test_no_gradient_reaches_keys_teacher_and_state(make_method):
    method = make_method()
    params, extras = init(method)
    frozen, whole = jax.tree.map(jnp.asarray, extras), {}
    arrays = {"target": frozen["target"]["params"], "state": frozen["loss_state"]}
    whole = {name: jax.tree.map(lambda x: x.astype(jnp.float32), tree) for name, tree in arrays.items()}

    def loss(arrays):
        state = jax.tree.map(lambda x, old: x.astype(old.dtype), arrays["state"], frozen["loss_state"])
        changed = {
            **frozen,
            "target": {**frozen["target"], "params": arrays["target"]},
            "loss_state": state,
        }
        return total(method.loss(params, changed, batch(), jax.random.key(1))[0])

    for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(whole)):
        assert (leaf == 0).all()


def test_the_keys_of_a_batch_enter_the_queue_after_the_loss():
    method = small_moco(queue=64)
    params, extras = init(method)
    loss = jax.jit(method.loss)
    losses, aux = loss(params, extras, batch(), jax.random.key(1))
    queue = aux.extras["loss_state"]
    assert int(queue.oldest) == 32
    np.testing.assert_allclose(np.linalg.norm(queue.keys, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(queue.keys[32:], extras["loss_state"].keys[32:])
    assert not np.array_equal(queue.keys[:32], extras["loss_state"].keys[:32])
    # The negatives of a step are the keys of before it: replacing those that it overwrites changes its loss.
    other = extras["loss_state"]._replace(keys=extras["loss_state"].keys.at[:32].multiply(-1))
    changed, _ = loss(params, {**extras, "loss_state": other}, batch(), jax.random.key(1))
    assert float(changed["moco_loss"].sum) != float(losses["moco_loss"].sum)
    # The network has seen the first view alone: its running statistics moved once.
    stats, before = (e["batch_stats"]["encoder"]["stem"]["norm"]["var"] for e in (aux.extras, extras))
    assert ((stats - 0.9) > 0).all()
    assert (before == 1).all()


def test_micro_batches_enqueue_one_after_the_other():
    method = small_moco(queue=64)
    params, extras = init(method)
    rngs = jax.vmap(lambda part: step_rng(0, 1, part))(jnp.arange(2))
    _, _, _, together = jax.jit(lambda p, e: gradients(method, p, e, batch(), rngs))(params, extras)
    parts, apart = split_batch(batch(), 2), extras
    for i in range(2):
        part = jax.tree.map(lambda x, i=i: x[i], parts)
        apart = jax.jit(method.loss)(params, apart, part, rngs[i])[1].extras
    assert int(together["loss_state"].oldest) == 32
    for ours, wanted in zip(*map(jax.tree.leaves, (together, apart)), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-5, atol=1e-5)


def trained_dino(centre_momentum, steps=60):
    """Metrics of a held-out evaluation after training on one batch."""
    settings = {"target": TargetConfig(decay=0.9, final_decay=None, start="copy"), "views": (VIEW, VIEW)}
    method = small_dino(prototypes=32, centre_momentum=centre_momentum, **settings)
    optimizer = optax.adam(1e-2)
    step = jax.jit(make_train_step(method, optimizer, seed=0))
    state = jax.jit(make_initial_state(method, optimizer, batch=batch(), seed=0))()
    for _ in range(steps):
        state, _ = step(state, batch())
    metrics = jax.jit(method.evaluate)(state.params, state.extras, batch(), jax.random.key(2))
    return {name: float(mean.sum / mean.weight) for name, mean in metrics.items()}


def test_without_centring_dino_collapses_to_one_prototype_and_the_metrics_show_it():
    """A centre that never moves stays 0. The loss beyond the teacher's entropy is what tells images apart."""
    healthy, collapsed = trained_dino(0.9), trained_dino(1.0)
    assert healthy["dino_loss"] - healthy["teacher_entropy"] > 0.8
    assert collapsed["dino_loss"] - collapsed["teacher_entropy"] < 0.4
    assert collapsed["teacher_entropy"] < 0.2
    assert collapsed["embedding_std"] < 0.8 * healthy["embedding_std"]


class Flat(nn.Module):
    """An encoder without batch statistics."""

    @nn.compact
    def __call__(self, images, train):
        hidden = nn.gelu(nn.Dense(64)(images.reshape(len(images), -1)))
        for _ in range(6):
            hidden = nn.gelu(nn.Dense(64)(hidden))
        return hidden


@functools.cache
def contrasted(parts):
    """NT-Xent, whose negatives are all other images of the batch; the target sees the second view."""
    network = Network(Flat(), ProjectionMlp(MlpConfig((16,), 8, hidden_norm=False, last_norm="none")))
    loss = pairwise(
        lambda first, second, weights: {
            "loss": nt_xent(first.projection, second.target, weights, temperature=0.1)
        }
    )
    return joint_embedding(
        network, loss, views=(VIEW, VIEW), classes=10, steps=9, target=TargetConfig(), parts=parts
    ).method


def test_in_parts_a_loss_that_compares_all_images_has_the_gradient_of_the_whole_batch():
    wanted, gradient, _ = loss_gradient_extras(contrasted(1))
    for mesh in (None, MeshConfig(data=8)):
        loss, found, _ = loss_gradient_extras(contrasted(2), mesh)
        np.testing.assert_allclose(loss, wanted, rtol=1e-6)
        largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradient))
        for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5 * largest)


def test_in_parts_the_activations_of_one_part_are_in_memory():
    def temporary(parts):
        method = contrasted(parts)
        params, extras = init(method)

        def loss(params):
            return total(method.loss(params, extras, batch(), jax.random.key(1))[0])

        return jax.jit(jax.grad(loss)).lower(params).compile().memory_analysis().temp_size_in_bytes

    assert temporary(8) < 0.6 * temporary(1)
