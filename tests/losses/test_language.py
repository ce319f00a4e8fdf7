"""Losses against NumPy, uneven weights, and what a sharded vocabulary costs."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssl_jax.losses import language, metrics
from ssl_jax.ops.reductions import is_argmax

masked_language_model = jax.jit(language.masked_language_model)
next_sentence, sentence_order = jax.jit(language.next_sentence), jax.jit(language.sentence_order)
accuracy = jax.jit(metrics.accuracy)


@jax.jit
def all_right(logits, labels, weights):
    return metrics.all_right(is_argmax(logits, labels), weights)


def cross_entropy(logits, labels):
    logits = np.asarray(logits, np.float64)
    shifted = logits - logits.max(-1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]


def example(shape, classes, seed=0):
    rng = np.random.default_rng(seed)
    logits = (10 * rng.normal(size=(*shape, classes))).astype(np.float32)
    return logits, rng.integers(0, classes, shape), rng.integers(0, 3, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("loss", "shape", "classes"),
    [(masked_language_model, (3, 5), 50), (next_sentence, (7,), 2), (sentence_order, (7,), 2)],
)
def test_weighted_sums_equal_numpy(loss, shape, classes):
    logits, labels, weights = example(shape, classes)
    total, weight = loss(logits, labels, weights)
    np.testing.assert_allclose(total, (cross_entropy(logits, labels) * weights).sum(), rtol=1e-6)
    assert weight == weights.sum()
    assert total.dtype == weight.dtype == jnp.float32


def test_gradient_is_softmax_minus_label_times_weight():
    logits, labels, weights = example((3, 5), 50)
    gradient = jax.grad(lambda x: masked_language_model(x, labels, weights)[0])(logits)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    softmax = exponentials / exponentials.sum(-1, keepdims=True)
    expected = (softmax - np.eye(50)[labels]) * weights[..., None]
    np.testing.assert_allclose(gradient, expected, atol=2e-6)


def test_dense_labels_give_the_loss_of_gathered_ones():
    logits, labels, _ = example((2, 8), 50)
    positions = np.array([[6, 1, 0], [3, 0, 0]])
    weights = np.array([[1, 1, 0], [1, 0, 0]], np.float32)
    dense = np.zeros((2, 8), np.float32)
    dense[[0, 0, 1], [6, 1, 3]] = 1
    gathered = np.take_along_axis(logits, positions[..., None], axis=1)
    few = masked_language_model(gathered, np.take_along_axis(labels, positions, axis=1), weights)
    np.testing.assert_allclose(few, masked_language_model(logits, labels, dense), rtol=1e-6)


def test_sums_of_parts_give_the_mean_of_the_whole():
    """Parts of uneven weight: the mean of means would be wrong, the sums are not."""
    logits, labels, weights = example((8, 5), 50)
    weights[:4] *= 3
    whole = masked_language_model(logits, labels, weights)
    parts = [masked_language_model(logits[i : i + 4], labels[i : i + 4], weights[i : i + 4]) for i in (0, 4)]
    np.testing.assert_allclose(np.sum(parts, axis=0), whole, rtol=1e-6)


@pytest.mark.parametrize("figure", [masked_language_model, accuracy, all_right])
def test_nothing_predicted_gives_zero_of_zero(figure):
    logits, labels, weights = example((2, 3), 50)
    total, weight = figure(logits, labels, 0 * weights)
    assert (total, weight) == (0, 0)


def test_nothing_predicted_gives_zero_gradients():
    logits, labels, weights = example((2, 3), 50)
    gradient = jax.grad(lambda x: masked_language_model(x, labels, 0 * weights)[0])(1e4 * logits)
    assert not np.any(gradient)


def test_label_0_counts():
    total, weight = masked_language_model(np.zeros((1, 1, 4)), np.zeros((1, 1), int), np.ones((1, 1)))
    np.testing.assert_allclose((total, weight), (np.log(4), 1), rtol=1e-6)


def test_bfloat16_logits_are_summed_in_float32():
    """In bfloat16, adding 1 to 256 gives 256: a sum over this many classes would stop there."""
    logits = jnp.zeros((512, 4096), jnp.bfloat16)
    total, weight = masked_language_model(logits, np.zeros(512, int), np.ones(512, np.float32))
    np.testing.assert_allclose((total, weight), (512 * np.log(4096), 512), rtol=1e-6)


def test_sharded_vocabulary_is_never_gathered():
    """With the vocabulary split over chips, only sums per prediction cross between them, not logits."""
    mesh = jax.make_mesh((2, 4), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)

    def array(shape, dtype, *axes):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, PartitionSpec(*axes)))

    arguments = (
        array((8, 20, 1024), jnp.float32, "data", None, "tensor"),
        array((8, 20), jnp.int32, "data"),
        array((8, 20), jnp.float32, "data"),
    )
    step = jax.jit(jax.value_and_grad(lambda *a: masked_language_model(*a)[0]))
    compiled = step.lower(*arguments).compile().as_text()
    assert "all-reduce" in compiled
    assert not re.search("all-gather|all-to-all|collective-permute", compiled)


def test_accuracy_counts_weights():
    logits = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0], [5.0, 1.0]])
    correct, weight = accuracy(logits, np.array([1, 0, 0, 1]), np.array([1.0, 2.0, 4.0, 0.0]))
    assert (correct, weight) == (3, 7)


def test_accuracy_is_that_of_argmax_also_for_equal_logits():
    logits = np.random.default_rng(0).integers(0, 4, (2000, 5)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 5, 2000)
    correct, _ = accuracy(logits, labels, np.ones(2000, np.float32))
    assert correct == np.sum(logits.argmax(-1) == labels)


def test_all_right_is_a_share_of_rows_that_predict_something():
    logits = np.random.default_rng(0).integers(0, 3, (500, 2, 4)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 4, (500, 2))
    weights = np.random.default_rng(2).integers(0, 3, (500, 2)).astype(np.float32)
    hits = logits.argmax(-1) == labels
    rows = [hit[weight > 0] for hit, weight in zip(hits, weights, strict=True) if weight.any()]
    assert len(rows) < 500
    right, counted = all_right(logits, labels, weights)
    assert (right, counted) == (sum(row.all() for row in rows), len(rows))
