"""Of every loss on two views: rows that fill up a batch change nothing, and a collapse gives finite numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses.joint_embedding import (
    TeacherState,
    barlow_twins,
    dino,
    info_nce,
    nt_xent,
    random_queue,
    symmetric_regression,
    vicreg,
)
from tests.losses.joint_embedding.numerics import projections

BATCH, WIDTH = 24, 6


def of_contrast(first, second, weights):
    return {"loss": nt_xent(first, second, weights, temperature=0.5)}


def of_queue(first, second, weights):
    queue = random_queue(jax.random.key(0), 48, WIDTH)
    return {
        "loss": info_nce(first, second, queue, weights, temperature=0.2),
        "swapped": info_nce(second, first, queue, weights, temperature=0.2),
    }


def of_regression(first, second, weights):
    return {"loss": symmetric_regression((first, second), (second, jnp.roll(first, 1, -1)), weights)}


def of_correlation(first, second, weights):
    return {"loss": barlow_twins(first, second, weights, redundancy=0.3)}


def of_distillation(first, second, weights):
    state = TeacherState(jnp.zeros(WIDTH), jnp.float32(0.04))
    return {"loss": dino((first, second), (second, first), state, weights, student_temperature=0.1)}


LOSSES = {
    "nt_xent": of_contrast,
    "info_nce": of_queue,
    "symmetric_regression": of_regression,
    "barlow_twins": of_correlation,
    "vicreg": vicreg,
    "dino": of_distillation,
}


@functools.cache
def value_and_gradients(name):
    """Of the sum of the means, by the two views."""

    def total(pair, weights):
        return sum(mean.sum / mean.weight for mean in LOSSES[name](*pair, weights).values())

    return jax.jit(jax.value_and_grad(total))


@pytest.mark.parametrize("name", LOSSES)
def test_rows_that_fill_up_a_batch_change_nothing(name):
    first, second = projections(BATCH, WIDTH, noise=0.7)
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
        assert (np.asarray(expected) != 0).any(1).all()


@pytest.mark.parametrize("name", LOSSES)
def test_finite_where_everything_has_collapsed(name):
    same, one = np.ones((BATCH, WIDTH), np.float32), jnp.zeros(BATCH).at[0].set(1.0)
    for first, second, weights in (
        (same, same, jnp.ones(BATCH)),
        (0 * same, 0 * same, jnp.ones(BATCH)),
        (same, -same, jnp.ones(BATCH)),
        (*projections(BATCH, WIDTH), one),
    ):
        value, grads = value_and_gradients(name)((first, second), weights)
        assert np.isfinite(value)
        assert all(np.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_weight_is_a_sum_of_0(name):
    means = jax.jit(LOSSES[name])(*projections(BATCH, WIDTH), jnp.zeros(BATCH))
    assert all(float(mean.sum) == 0 and float(mean.weight) == 0 for mean in means.values())
