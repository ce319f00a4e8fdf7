"""DINO's loss, centre and temperature against NumPy written from the paper's pseudocode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses.joint_embedding import (
    TeacherState,
    dino,
    linear_warmup,
    teacher_entropy,
    update_centre,
)
from tests.losses.joint_embedding.numerics import check_gradient, value

BATCH, WIDTH = 6, 5


def logits(views, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(BATCH, WIDTH)).astype(np.float32) for _ in range(views)]


def softmax(x):
    terms = np.exp(x - x.max(-1, keepdims=True))
    return terms / terms.sum(-1, keepdims=True)


def dino_of_the_paper(students, teachers, centre, student_temperature, teacher_temperature):
    """arXiv:2104.14294, algorithm 1, for any number of views: pairs of a teacher's view and another one."""
    losses = []
    for i, teacher in enumerate(teachers):
        target = softmax((np.asarray(teacher, np.float64) - centre) / teacher_temperature)
        for j, student in enumerate(students):
            if i != j:
                prediction = softmax(np.asarray(student, np.float64) / student_temperature)
                losses.append(-(target * np.log(prediction)).sum(-1).mean())
    return np.mean(losses)


@jax.jit
def loss(students, teachers, centre, weights=None, *, sharp=0.04):
    weights = jnp.ones(BATCH) if weights is None else weights
    state = TeacherState(centre, jnp.float32(sharp))
    return dino(students, teachers, state, weights, student_temperature=0.1)


@jax.jit
def moved(centre, teachers, weights):
    state = TeacherState(centre, jnp.float32(0.04))
    return update_centre(teachers, state, weights, momentum=0.9).centre


CENTRE = np.array([0.3, -0.2, 0.0, 0.5, 0.1], np.float32)


@pytest.mark.parametrize(("views", "of_teacher"), [(2, 2), (4, 2), (3, 1)])
@pytest.mark.parametrize("sharp", [0.04, 0.07, 1.0])
def test_dino_is_the_papers(views, of_teacher, sharp):
    students, teachers = logits(views), logits(of_teacher, seed=1)
    wanted = dino_of_the_paper(students, teachers, CENTRE, 0.1, sharp)
    assert value(loss(students, teachers, CENTRE, sharp=sharp)) == pytest.approx(wanted, rel=1e-5)


def test_gradient_is_the_slope_of_the_papers_formula_and_goes_into_students_only():
    students, teachers = logits(3), logits(2, seed=1)
    for i in range(3):
        others = lambda x, i=i: [*students[:i], x, *students[i + 1 :]]  # noqa: E731
        check_gradient(
            lambda x, others=others: loss(others(x), teachers, CENTRE),
            lambda x, others=others: dino_of_the_paper(others(x), teachers, CENTRE, 0.1, 0.04),
            students[i],
            rtol=1e-4,
            atol=1e-5,
        )
    into = jax.grad(lambda teachers, centre: loss(students, teachers, centre).sum, argnums=(0, 1))(
        teachers, CENTRE
    )
    assert all((np.asarray(grad) == 0).all() for grad in jax.tree.leaves(into))


def test_an_image_of_weight_0_counts_for_nothing():
    students, teachers = logits(3), logits(2, seed=1)
    weights = jnp.array([1.0, 1, 1, 1, 0, 0])
    few = [[x[:4] for x in views] for views in (students, teachers)]
    assert value(loss(students, teachers, CENTRE, weights)) == pytest.approx(
        value(loss(*few, CENTRE, jnp.ones(4))), rel=1e-6
    )
    grads = jax.grad(lambda students: loss(students, teachers, CENTRE, weights).sum)(students)
    assert all((np.asarray(grad[4:]) == 0).all() and (grad[:4] != 0).any(1).all() for grad in grads)
    np.testing.assert_allclose(
        moved(CENTRE, teachers, weights), moved(CENTRE, few[1], jnp.ones(4)), rtol=1e-6
    )
    np.testing.assert_array_equal(moved(CENTRE, teachers, jnp.zeros(BATCH)), CENTRE)


def test_the_centre_is_the_moving_average_of_the_mean_logits():
    teachers = logits(2, seed=1)
    centre, wanted = jnp.zeros(WIDTH), np.zeros(WIDTH)
    for _ in range(3):
        centre = moved(centre, teachers, jnp.ones(BATCH))
        wanted = 0.9 * wanted + 0.1 * np.concatenate(teachers).astype(np.float64).mean(0)
    np.testing.assert_allclose(centre, wanted, rtol=1e-5, atol=1e-7)


def test_entropy_tells_the_two_kinds_of_collapse_apart():
    def entropy(teacher):
        state = TeacherState(jnp.zeros(WIDTH), jnp.float32(0.04))
        return value(teacher_entropy([teacher], state, jnp.ones(BATCH)))

    assert entropy(jnp.zeros((BATCH, WIDTH))) == pytest.approx(np.log(WIDTH))
    one = jnp.zeros((BATCH, WIDTH)).at[:, 2].set(5.0)
    assert entropy(one) == pytest.approx(0, abs=1e-6)
    teachers = logits(2, seed=1)
    shares = softmax((np.stack(teachers).astype(np.float64) - CENTRE) / 0.04)
    ours = teacher_entropy(teachers, TeacherState(CENTRE, jnp.float32(0.04)), jnp.ones(BATCH))
    assert value(ours) == pytest.approx(-(shares * np.log(shares)).sum(-1).mean(), rel=1e-4)


def test_the_temperature_rises_as_in_the_authors_code():
    """numpy.linspace over the warm-up, then constant."""
    wanted = [*np.linspace(0.04, 0.07, 30), 0.07, 0.07]
    ours = [linear_warmup(step, 0.04, 0.07, 30) for step in range(1, 33)]
    np.testing.assert_allclose(ours, wanted, rtol=1e-6)
    assert float(linear_warmup(1, 0.04, 0.07, 0)) == pytest.approx(0.07)


def test_sharp_logits_are_finite():
    far = [1e4 * x for x in logits(2)]
    total, grads = jax.value_and_grad(lambda x: loss(x, far, CENTRE).sum)(far)
    assert np.isfinite(total)
    assert all(np.isfinite(grad).all() for grad in grads)
