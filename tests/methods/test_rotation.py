"""The four turns of every image and their labels, weights, and what the gradient of the labels reaches."""

import functools
from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments import rotation as experiment
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.methods.rotation import rotation
from ssl_jax.models.resnet import ResNet, ResNetConfig

VIEW = replace(
    experiment.PRESETS["digits"].views[0], crop_area=(1.0, 1.0), crop_ratio=(1.0, 1.0), translate=0.0
)
MADE = rotation(ResNetConfig(blocks=(1,), bottleneck=False, width=8, stem="small"), VIEW, classes=10)


@functools.cache
def digits(*, heldout=False, size=64):
    splits = open_images(ImageConfig())
    rows = [(splits.heldout if heldout else splits.train)[i] for i in range(size)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]} | {
        "example_weight": np.ones(size, np.float32)
    }


@functools.cache
def first_variables():
    """With every array moved a little, so that no scale, bias or statistic is at its neutral start."""
    chance = np.random.default_rng(0)
    extras = jax.tree.map(
        lambda x: np.asarray(x) + chance.uniform(0, 0.1, x.shape).astype(np.float32),
        jax.jit(MADE.method.init)(jax.random.key(0), digits()),
    )
    return extras.pop("params"), extras


@jax.jit
def watched_evaluation(params, extras, batch, rng):
    """(metrics, the images that the encoder saw, the logits of their turns)."""
    seen = {}

    def spy(call, arguments, settings, context):
        result = call(*arguments, **settings)
        if isinstance(context.module, ResNet) and context.method_name == "__call__":
            seen["images"] = arguments[0]
        elif isinstance(context.module, nn.Dense):
            seen["logits"] = result
        return result

    with nn.intercept_methods(spy):
        metrics = MADE.method.evaluate(params, extras, batch, rng)
    return metrics, seen["images"], seen["logits"]


def test_the_network_sees_every_image_in_all_four_turns_and_each_is_labelled_by_its_turn():
    weights = np.random.default_rng(0).integers(0, 2, 64).astype(np.float32)
    batch = {**digits(), "example_weight": weights}
    metrics, seen, logits = watched_evaluation(*first_variables(), batch, jax.random.key(2))
    images = digits()["image"].astype(np.float32) / 255
    turned = np.stack([np.rot90(images, turn, axes=(1, 2)) for turn in range(4)], axis=1).reshape(256, -1)
    alike = np.abs(np.reshape(seen, (256, 1, -1)) - turned[None]).max(-1) < 1e-6
    assert (alike.sum(0) == 1).all()
    assert (alike.sum(1) == 1).all()
    image, turn = np.divmod(alike.argmax(1), 4)

    scores = np.asarray(logits, np.float64)
    losses = np.log(np.exp(scores).sum(-1)) - scores[np.arange(256), turn]
    hits = scores.argmax(-1) == turn
    total, weight = metrics["rotation_loss"]
    assert float(total) == pytest.approx((losses * weights[image]).sum(), rel=1e-5)
    assert float(weight) == 4 * weights.sum()
    assert float(metrics["rotation_accuracy"][0]) == (hits * weights[image]).sum()
    assert 0 < hits.sum() < 256


def test_an_evaluation_draws_nothing_and_no_image_changes_the_metrics_of_another():
    """Each image is normalised by the running statistics, so that batches and what fills them up do not matter."""

    def evaluate(image, weights, seed=2):
        batch = {**digits(), "image": image, "example_weight": weights.astype(np.float32)}
        return watched_evaluation(*first_variables(), batch, jax.random.key(seed))[0]

    image, everything = digits()["image"], np.ones(64)
    whole, again = evaluate(image, everything), evaluate(image, everything, seed=3)
    halves = [
        evaluate(np.where(part[:, None, None, None], image, 255 - image), part)
        for part in (np.arange(64) < 24, np.arange(64) >= 24)
    ]
    assert whole.keys() == {"rotation_loss", "rotation_accuracy", "probe_loss", "probe_accuracy"}
    for name, pair in whole.items():
        assert tuple(map(float, again[name])) == tuple(map(float, pair))
        for value, *parts in zip(pair, *(half[name] for half in halves), strict=True):
            assert float(value) == pytest.approx(float(sum(parts)), rel=1e-5)


@jax.jit
def gradients(params, extras, batch, rng):
    """(gradients of the sum of the losses, extras after them)."""

    def loss(params):
        losses, aux = MADE.method.loss(params, extras, batch, rng)
        return sum(total / jnp.maximum(weight, 1) for total, weight in losses.values()), aux.extras

    return jax.grad(loss, has_aux=True)(params)


def test_labels_move_the_probe_and_nothing_else():
    params, extras = first_variables()

    def grads(label):
        return gradients(params, extras, {**digits(), "label": label.astype(np.int32)}, jax.random.key(1))

    one, after = grads(digits()["label"])
    other, _ = grads((digits()["label"] + 1) % 10)
    assert (one["probe"]["kernel"] != other["probe"]["kernel"]).any()
    for name in ("encoder", "head"):
        for a, b in zip(jax.tree.leaves(one[name]), jax.tree.leaves(other[name]), strict=True):
            np.testing.assert_array_equal(a, b)
            assert (np.asarray(a) != 0).any()
    unlabelled, _ = grads(np.full(64, -1))
    assert (np.asarray(unlabelled["probe"]["kernel"]) == 0).all()
    for before, now in zip(jax.tree.leaves(extras), jax.tree.leaves(after), strict=True):
        assert (before != now).any()


def test_turns_of_digits_never_seen_are_told_apart_after_a_few_steps():
    rows, optimizer = digits(size=512), optax.adam(1e-2)
    params, extras = first_variables()

    @jax.jit
    def update(grads, moments, params):
        updates, moments = optimizer.update(grads, moments)
        return optax.apply_updates(params, updates), moments

    moments = jax.jit(optimizer.init)(params)
    for number, key in enumerate(jax.random.split(jax.random.key(1), 60)):
        batch = {name: values[number % 8 :: 8] for name, values in rows.items()}
        grads, extras = gradients(params, extras, batch, key)
        params, moments = update(grads, moments, params)
    metrics, _, _ = watched_evaluation(params, extras, digits(heldout=True), jax.random.key(2))
    hits, turns = map(float, metrics["rotation_accuracy"])
    assert turns == 256
    assert hits / turns > 0.6  # chance is 0.25
