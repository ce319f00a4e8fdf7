"""Cosine regression, and BYOL's and SimSiam's symmetric one, against NumPy written from the papers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.simsiam import simsiam
from ssl_jax.losses import joint_embedding
from ssl_jax.methods.joint_embedding import Embedding
from tests.losses.joint_embedding.numerics import check_gradient, projections, unit, value

cosine_regression = jax.jit(joint_embedding.cosine_regression)
symmetric_regression = jax.jit(joint_embedding.symmetric_regression)


def byol_of_the_paper(predictions, targets):
    """arXiv:2006.07733, equation 2, in both directions."""
    distances = [
        np.square(unit(p) - unit(t)).sum(-1).mean() for p, t in zip(predictions, targets[::-1], strict=True)
    ]
    return sum(distances)


def simsiam_of_the_paper(predictions, projections):
    """arXiv:2011.10566, equations 1 and 2, plus 1."""

    def distance(p, z):
        return -(unit(p) * unit(z)).sum(-1).mean()

    return 1 + distance(predictions[0], projections[1]) / 2 + distance(predictions[1], projections[0]) / 2


def test_cosine_regression_is_the_distance_of_unit_vectors_and_leaves_the_target_alone():
    first, second = projections(16)
    weights = jnp.asarray(np.random.default_rng(1).integers(0, 2, 16).astype(np.float32))
    distance = np.square(unit(first) - unit(second)).sum(-1)
    total, weight = cosine_regression(first, second, weights)
    assert float(total) == pytest.approx((distance * np.asarray(weights)).sum(), rel=1e-5)
    assert float(weight) == weights.sum()
    into = jax.grad(lambda pair: cosine_regression(*pair, weights)[0])((first, second))
    assert (np.asarray(into[1]) == 0).all()
    assert ((np.asarray(into[0]) != 0).any(1) == (np.asarray(weights) > 0)).all()


def test_symmetric_regression_is_byols():
    predictions, targets = projections(seed=1), projections(seed=2)
    ours = symmetric_regression(predictions, targets, jnp.ones(16))
    assert value(ours) == pytest.approx(byol_of_the_paper(predictions, targets), rel=1e-5)


def test_simsiam_is_the_papers():
    views, predictions = projections(seed=1), projections(seed=2)
    first, second = (Embedding(z, z, prediction=p) for z, p in zip(views, predictions, strict=True))
    ours = jax.jit(simsiam)(first, second, jnp.ones(16))["simsiam_loss"]
    assert value(ours) == pytest.approx(simsiam_of_the_paper(predictions, views), rel=1e-5)


def test_gradient_goes_into_the_predictions_only():
    predictions, targets = projections(4, 3, seed=1), projections(4, 3, seed=2)
    check_gradient(
        lambda p: symmetric_regression((p, predictions[1]), targets, jnp.ones(4)),
        lambda p: byol_of_the_paper((p, predictions[1]), targets),
        predictions[0],
        atol=1e-5,
    )
    into = jax.grad(lambda targets: symmetric_regression(predictions, targets, jnp.ones(4)).sum)(targets)
    assert all((np.asarray(grad) == 0).all() for grad in into)
