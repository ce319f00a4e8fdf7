"""The losses of wav2vec 2.0, CPC and HuBERT, against NumPy in double precision, place by place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses import speech

ROWS, PLACES, WIDTH = 2, 6, 5


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def cross_entropy(own, others):
    logits = np.array([own, *others])
    return np.log(np.exp(logits - logits.max()).sum()) + logits.max() - own


@pytest.fixture
def draws():
    return np.random.default_rng(0)


def test_masked_contrast(draws):
    predictions = draws.normal(size=(ROWS, PLACES, WIDTH))
    codebook = draws.normal(size=(2, 2, WIDTH))
    codes = draws.integers(0, 2, size=(ROWS, PLACES, 2))
    targets = codebook[0][codes[..., 0]] + codebook[1][codes[..., 1]]
    negatives = draws.integers(0, PLACES, size=(ROWS, PLACES, 9))
    weights = draws.integers(0, 2, size=(ROWS, PLACES))
    losses, right, left_out = [], [], 0
    for b, p in np.argwhere(weights):
        counted = [n for n in negatives[b, p] if not np.array_equal(targets[b, n], targets[b, p])]
        left_out += 9 - len(counted)
        own = cosine(predictions[b, p], targets[b, p]) / 0.1
        others = [cosine(predictions[b, p], targets[b, n]) / 0.1 for n in counted]
        losses.append(cross_entropy(own, others))
        right.append(all(own > other for other in others))
    assert left_out > 0
    loss, accuracy = jax.jit(speech.masked_contrast, static_argnums=5)(
        *map(jnp.asarray, (predictions, targets, codes, negatives, weights)), 0.1
    )
    assert float(loss.weight) == weights.sum()
    assert float(loss.sum) == pytest.approx(np.sum(losses), rel=1e-4)
    assert float(accuracy.sum) == sum(right)


def test_equal_codes_leave_a_finite_gradient(draws):
    same = jnp.ones((1, PLACES, WIDTH))
    codes, negatives = jnp.zeros((1, PLACES, 2), jnp.int32), jnp.zeros((1, PLACES, 3), jnp.int32)

    def loss(x):
        return speech.masked_contrast(x, x, codes, negatives, jnp.ones((1, PLACES)), 0.1)[0].sum

    assert float(loss(same)) == 0
    assert np.isfinite(jax.grad(loss)(same)).all()
    assert np.isfinite(jax.grad(loss)(0 * same)).all()


def test_future_contrast(draws):
    steps, lengths = 3, [6, 4]
    predictions = draws.normal(size=(steps, ROWS, PLACES, WIDTH))
    targets = draws.normal(size=(ROWS, PLACES, WIDTH))
    negatives = np.stack([draws.integers(0, n, size=(PLACES, 7)) for n in lengths])
    losses, met = [], 0
    for b, length in enumerate(lengths):
        for k in range(1, steps + 1):
            for t in range(length - k):
                scores = targets[b] @ predictions[k - 1, b, t] / WIDTH
                met += (negatives[b, t] == t + k).sum()
                losses.append(
                    cross_entropy(scores[t + k], [scores[n] for n in negatives[b, t] if n != t + k])
                )
    assert met > 0
    arrays = map(jnp.asarray, (predictions, targets, negatives, np.array(lengths), np.ones(ROWS)))
    loss, accuracy = jax.jit(speech.future_contrast)(*arrays)
    assert float(loss.weight) == float(accuracy.weight) == len(losses)
    assert float(loss.sum) == pytest.approx(np.sum(losses), rel=1e-4)


def test_code_diversity(draws):
    logits = draws.normal(size=(ROWS, PLACES, 2, 4))
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    weights = draws.integers(0, 2, size=(ROWS, PLACES))
    average = p[weights > 0].mean(0)
    wanted = np.exp(-(average * np.log(average)).sum(-1)).sum()
    loss, perplexity = speech.code_diversity(jnp.asarray(p), jnp.asarray(weights, jnp.float32))
    assert float(perplexity) == pytest.approx(wanted, rel=1e-5)
    assert float(loss.sum / loss.weight) == pytest.approx((8 - wanted) / 8, rel=1e-4)


def test_unit_prediction(draws):
    predictions, embeddings = draws.normal(size=(PLACES, WIDTH)), draws.normal(size=(7, WIDTH))
    units, weights = draws.integers(0, 7, PLACES), np.array([1, 0, 1, 1, 0, 1])
    logits = np.array([[cosine(x, e) / 0.1 for e in embeddings] for x in predictions])
    ours = speech.unit_logits(jnp.asarray(predictions), jnp.asarray(embeddings), 0.1)
    np.testing.assert_allclose(ours, logits, rtol=1e-4, atol=1e-4)
    loss, accuracy = speech.unit_prediction(ours, jnp.asarray(units), jnp.asarray(weights))
    wanted = [cross_entropy(row[u], np.delete(row, u)) for row, u in zip(logits, units, strict=True)]
    assert float(loss.sum) == pytest.approx(np.sum(wanted * weights), rel=1e-4)
    assert float(accuracy.sum) == ((logits.argmax(-1) == units) * weights).sum()


def test_the_feature_penalty_is_of_true_frames(draws):
    features, weights = draws.normal(size=(ROWS, PLACES, WIDTH)), np.array([[1] * 6, [1, 1, 0, 0, 0, 0]])
    mean = speech.feature_penalty(jnp.asarray(features), jnp.asarray(weights))
    assert float(mean.sum / mean.weight) == pytest.approx(np.square(features[weights > 0]).mean(), rel=1e-5)
