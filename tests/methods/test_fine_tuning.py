"""Losses and metrics of the four tasks against NumPy, and examples and labels that do not count."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.data.fine_tuning_rows import batch_shapes
from ssl_jax.methods.fine_tuning import fine_tuning
from ssl_jax.models.bert import BertConfig

CONFIG = BertConfig(vocab_size=20, positions=6, layers=1, width=8, heads=2, mlp_width=8)
CLASSES = {"class": 3, "score": 1, "tags": 4, "answer": 1}
UNKNOWN = {"class": -1, "score": np.nan, "tags": -1, "answer": -1}
LABELS = {"answer": ("start", "end")}


@functools.cache
def made(task):
    return fine_tuning(CONFIG, task, CLASSES[task])


@functools.cache
def batch_of(task):
    """Five examples; the fourth has an unknown label, the last only fills up the batch."""
    rng = np.random.default_rng(0)
    batch = {}
    for name, array in batch_shapes(5, 6, task).items():
        high = {"tokens": 20, "token_type_ids": 2, "segment_ids": 2}.get(name, max(CLASSES[task], 2))
        batch[name] = rng.integers(0, high, array.shape).astype(array.dtype)
    batch["segment_ids"] = (np.arange(6) < np.array([[6], [4], [5], [6], [3]])).astype(np.int32)
    for name in LABELS.get(task, ("label",)):
        batch[name] = batch[name].copy()
        batch[name][3] = UNKNOWN[task]
    if task == "tags":
        batch["label"][batch["segment_ids"] == 0] = -1
    return batch | {"example_weight": np.array([1, 1, 1, 1, 0], np.float32)}


@functools.cache
def variables(task):
    params = made(task).method.init(jax.random.key(1), batch_of(task))["params"]
    rng = np.random.default_rng(2)
    return jax.tree.map(lambda x: x + rng.normal(0, 0.3, x.shape).astype(np.float32), params)


@functools.cache
def evaluate(task):
    return jax.jit(made(task).method.evaluate)


def measured(task, batch):
    found = evaluate(task)(variables(task), {}, batch, jax.random.key(0))
    return {name: (float(mean.sum), float(mean.weight)) for name, mean in found.items()}


def cross_entropies(logits, labels):
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, labels[..., None], -1)[..., 0]


def expected(task, batch):
    """Losses and metrics of the first three examples, from what `predict` and the model compute."""
    predicted = jax.tree.map(np.asarray, made(task).predict(variables(task), {}, batch))
    match task:
        case "class":
            labels = batch["label"][:3]
            logits = predicted["logits"][:3]
            loss, right = cross_entropies(logits, labels), logits.argmax(-1) == labels
            return {"class_loss": (loss.sum(), 3), "class_accuracy": (right.sum(), 3)}
        case "score":
            errors = np.square(predicted["score"][:3] - batch["label"][:3])
            return {"score_loss": (errors.sum(), 3)}
        case "tags":
            labels = batch["label"][:3]
            known = labels >= 0
            assert known.sum() == 15
            right = (predicted["tags"][:3] == labels) & known
            return {"tag_accuracy": (right.sum(), 15)}
        case "answer":
            start, end = batch["start"][:3], batch["end"][:3]
            ends = predicted["start"][:3], predicted["end"][:3]
            loss = (cross_entropies(ends[0], start) + cross_entropies(ends[1], end)) / 2
            right = (ends[0].argmax(-1) == start) & (ends[1].argmax(-1) == end)
            return {"answer_loss": (loss.sum(), 3), "answer_accuracy": (right.sum(), 3)}


@pytest.mark.parametrize("task", CLASSES)
def test_the_metrics_are_of_known_labels_of_real_examples(task):
    batch = batch_of(task)
    found = measured(task, batch)
    for name, value in expected(task, batch).items():
        assert found[name] == pytest.approx(value, rel=1e-5), name


def test_words_count_alike_in_the_loss_of_tags():
    """A mean over words, not over rows, which have different numbers of them."""
    batch = batch_of("tags")
    alone = [measured("tags", {**batch, "example_weight": np.eye(5, dtype=np.float32)[i]}) for i in range(3)]
    assert [each["tag_loss"][1] for each in alone] == [6, 4, 5]
    total = sum(each["tag_loss"][0] for each in alone), 15
    assert measured("tags", batch)["tag_loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("task", CLASSES)
def test_what_does_not_count_has_no_gradient(task):
    """The unknown label and the last example are changed; neither the loss nor its gradient is."""
    batch = batch_of(task)
    other = {name: values.copy() for name, values in batch.items()}
    other["tokens"][3:] = 19 - other["tokens"][3:]
    for name in LABELS.get(task, ("label",)):
        other[name][4] = UNKNOWN[task]

    @jax.jit
    def gradient(params, batch):
        def loss(params):
            losses, _ = made(task).method.loss(params, {}, batch, jax.random.key(3))
            (mean,) = losses.values()
            return mean.sum / mean.weight

        return jax.value_and_grad(loss)(params)

    found, changed = (gradient(variables(task), each) for each in (batch, other))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, changed)
    assert any(np.abs(x).max() > 1e-3 for x in jax.tree.leaves(found[1]["encoder"]))


@pytest.mark.parametrize("task", ["class", "score", "tags"])
def test_training_has_dropout_and_evaluation_has_none(task):
    batch = batch_of(task)

    @jax.jit
    def loss(rng):
        losses, _ = made(task).method.loss(variables(task), {}, batch, rng)
        return next(iter(losses.values())).sum

    assert loss(jax.random.key(0)) != loss(jax.random.key(1))
    (name, (value, _)), *_ = measured(task, batch).items()
    assert value == measured(task, batch)[name][0]
    assert jnp.isfinite(value)


@pytest.mark.parametrize("task", CLASSES)
def test_rows_that_are_padded_further_have_the_same_losses(task):
    """And a padding token is never where an answer ends."""
    batch = batch_of(task)
    longer = {
        name: np.pad(values, [(0, 0), (0, 2)], constant_values=-1 if name == "label" else 0)
        if values.ndim == 2
        else values
        for name, values in batch.items()
    }
    params = jax.tree.map(lambda x: x, variables(task))
    table = params["encoder"]["embeddings"]["position"]["embedding"]
    config = dataclasses.replace(CONFIG, positions=8)
    params["encoder"]["embeddings"]["position"] = {"embedding": np.concatenate([table, 9 * table[:2]])}
    method = fine_tuning(config, task, CLASSES[task])
    found = method.method.evaluate(params, {}, longer, jax.random.key(0))
    for name, value in measured(task, batch).items():
        assert tuple(map(float, found[name])) == pytest.approx(value, rel=1e-5)
    for logits in method.predict(params, {}, longer).values() if task == "answer" else ():
        assert (np.asarray(logits)[longer["segment_ids"] == 0] < -1e8).all()
