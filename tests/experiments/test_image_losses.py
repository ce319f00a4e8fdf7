"""Barlow Twins, VICReg and SimSiam against NumPy written from the papers, in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.barlow_twins import barlow_twins
from experiments.simsiam import simsiam
from experiments.vicreg import vicreg
from ssl_jax.methods.joint_embedding import Embedding

BATCH, WIDTH = 24, 6


def correlated(batch=BATCH, width=WIDTH, seed=0):
    """Two noisy views of vectors whose features are correlated and of different scale and mean."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(batch, width)) @ rng.normal(size=(width, width)) * 0.4 + rng.normal(size=width)
    return tuple((shared + 0.5 * rng.normal(size=shared.shape)).astype(np.float32) for _ in range(2))


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def barlow_twins_of_the_paper(first, second, redundancy):
    """arXiv:2103.03230, equations 1 and 2; the correlation of features with 1e-5 in the variance, as BatchNorm has."""
    a, b = (z.astype(np.float64) - z.mean(0, dtype=np.float64) for z in (first, second))
    correlation = np.empty((a.shape[1], b.shape[1]))
    for i, j in np.ndindex(correlation.shape):
        norms = [np.sqrt(np.mean(column**2) + 1e-5) for column in (a[:, i], b[:, j])]
        correlation[i, j] = np.mean(a[:, i] * b[:, j]) / np.prod(norms)
    return ((1 - np.diag(correlation)) ** 2).sum() + redundancy * (off_diagonal(correlation) ** 2).sum()


def vicreg_of_the_code(first, second):
    """arXiv:2105.04906, equations 1 to 5, averaged as facebookresearch/vicreg does."""
    views = [z.astype(np.float64) for z in (first, second)]
    hinges = [np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in views]
    overlaps = [(off_diagonal(np.cov(z.T)) ** 2).sum() / z.shape[1] for z in views]
    return {
        "invariance": ((views[0] - views[1]) ** 2).mean(),
        "variance": sum(hinges) / 2,
        "covariance": sum(overlaps),
    }


def simsiam_of_the_paper(predictions, projections):
    """arXiv:2011.10566, equations 1 and 2, plus 1."""

    def distance(p, z):
        p, z = p.astype(np.float64), z.astype(np.float64)
        return -((p * z).sum(-1) / np.linalg.norm(p, axis=-1) / np.linalg.norm(z, axis=-1)).mean()

    return 1 + distance(predictions[0], projections[1]) / 2 + distance(predictions[1], projections[0]) / 2


def embeddings(projections, predictions):
    return [Embedding(z, z, prediction=p) for z, p in zip(projections, predictions, strict=True)]


def terms_barlow(first, second, weights):
    return {"barlow": barlow_twins(first, second, weights, redundancy=0.3)}


def terms_simsiam(first, second, weights):
    return simsiam(*embeddings((first, second), (jnp.roll(second, 1, axis=-1), first)), weights)


TERMS = {"barlow_twins": terms_barlow, "vicreg": vicreg, "simsiam": terms_simsiam}


def means(pairs):
    return {name: total / weight for name, (total, weight) in pairs.items()}


@functools.cache
def value_and_gradients(name):
    """Of the sum of the terms, by the two views."""

    def total(pair, weights):
        return sum(means(TERMS[name](*pair, weights)).values())

    return jax.jit(jax.value_and_grad(total))


@jax.jit
def jitted_barlow(first, second, weights, redundancy):
    return {"loss": barlow_twins(first, second, weights, redundancy=redundancy)}


@pytest.mark.parametrize("redundancy", [0.0, 5e-3, 1.0])
def test_barlow_twins_is_the_papers(redundancy):
    first, second = correlated()
    ours = means(jitted_barlow(first, second, jnp.ones(BATCH), redundancy))["loss"]
    assert float(ours) == pytest.approx(barlow_twins_of_the_paper(first, second, redundancy), rel=1e-5)
    pearson = np.corrcoef(first.T, second.T)[:WIDTH, WIDTH:]
    wanted = ((1 - np.diag(pearson)) ** 2).sum() + redundancy * (off_diagonal(pearson) ** 2).sum()
    assert float(ours) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_vicreg_is_the_authors(scale):
    """At a small scale the hinge is at work in every feature, at a large one in none."""
    first, second = (np.float32(scale) * z for z in correlated())
    ours = means(jax.jit(vicreg)(first, second, jnp.ones(BATCH)))
    wanted = vicreg_of_the_code(first, second)
    assert {name: float(value) for name, value in ours.items()} == pytest.approx(wanted, rel=2e-5, abs=1e-7)
    assert (wanted["variance"] > 0) == (scale < 3)


def test_simsiam_is_the_papers():
    projections, predictions = correlated(seed=1), correlated(seed=2)
    ours = means(jax.jit(simsiam)(*embeddings(projections, predictions), jnp.ones(BATCH)))
    assert float(ours["simsiam_loss"]) == pytest.approx(
        simsiam_of_the_paper(predictions, projections), rel=1e-5
    )


def test_simsiam_pulls_at_the_predictions_and_not_at_their_targets():
    projections, predictions = correlated(seed=1), correlated(seed=2)

    def loss(projections, predictions):
        return simsiam(*embeddings(projections, predictions), jnp.ones(BATCH))["simsiam_loss"][0]

    into = jax.jit(jax.grad(loss, argnums=(0, 1)))(projections, predictions)
    assert all((np.asarray(grad) == 0).all() for grad in into[0])
    assert all((np.asarray(grad) != 0).any(1).all() for grad in into[1])


@pytest.mark.parametrize("name", TERMS)
def test_rows_that_fill_up_a_batch_change_nothing(name):
    first, second = correlated()
    rng = np.random.default_rng(3)
    padded = [
        np.concatenate([z, 50 * rng.normal(size=(8, WIDTH)).astype(np.float32)]) for z in (first, second)
    ]

    weights = jnp.concatenate([jnp.ones(BATCH), jnp.zeros(8)])
    value, grads = value_and_gradients(name)(tuple(padded), weights)
    wanted, wanted_grads = value_and_gradients(name)((first, second), jnp.ones(BATCH))
    assert float(value) == pytest.approx(float(wanted), rel=1e-5)
    for grad, expected in zip(grads, wanted_grads, strict=True):
        np.testing.assert_allclose(grad[:BATCH], expected, rtol=1e-4, atol=1e-6)
        assert (np.asarray(grad[BATCH:]) == 0).all()


@pytest.mark.parametrize("name", TERMS)
def test_finite_where_everything_has_collapsed(name):
    same, one = np.ones((BATCH, WIDTH), np.float32), jnp.zeros(BATCH).at[0].set(1.0)
    for first, second, weights in (
        (same, same, jnp.ones(BATCH)),
        (0 * same, 0 * same, jnp.ones(BATCH)),
        (same, -same, jnp.ones(BATCH)),
        (*correlated(), one),
    ):
        value, grads = value_and_gradients(name)((first, second), weights)
        assert np.isfinite(value)
        assert all(np.isfinite(grad).all() for grad in grads)
