"""Self-distillation: a student predicts the distribution over prototypes that a teacher gives another view (DINO)."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean


class TeacherState(NamedTuple):
    """What turns the teacher's logits into a distribution.

    Attributes:
      centre: float32 [prototypes], subtracted from the logits; see `update_centre`.
      temperature: float32 scalar, by which they are then divided; see `linear_warmup`.
    """

    centre: jax.Array
    temperature: jax.Array


def teacher_log_probabilities(teacher: jax.Array, state: TeacherState) -> jax.Array:
    """The teacher's centred and sharpened distribution (arXiv:2104.14294, 3.1), without gradient.

    Args:
      teacher: [batch, prototypes] logits, any float type; computed in float32.
      state: of the teacher.

    Returns:
      float32 [batch, prototypes].

    Example:
      >>> state = TeacherState(jnp.array([3.0, 1.0]), jnp.float32(0.04))
      >>> print(jnp.exp(teacher_log_probabilities(jnp.array([[3.0, 1.0]]), state)))
      [[0.5 0.5]]
    """
    logits = teacher.astype(jnp.float32) - state.centre[None]
    return jax.lax.stop_gradient(jax.nn.log_softmax(logits / state.temperature))


def dino(
    students: Sequence[jax.Array],
    teachers: Sequence[jax.Array],
    state: TeacherState,
    weights: jax.Array,
    *,
    student_temperature: float = 0.1,
) -> Mean:
    """Cross-entropy of the student's distribution to the teacher's of another view (arXiv:2104.14294, equation 3).

    The mean over all pairs of a view of the teacher and another view of the student, as in facebookresearch/dino; the
    paper's formula is their sum. No gradient goes into the teachers and their state.

    Args:
      students: logits of all views of the student, each [batch, prototypes], any float type; computed in float32.
      teachers: logits of the views that the teacher sees, which are the first ones of the student.
      state: of the teacher.
      weights: [batch] float32, 0 for images that do not count.
      student_temperature: above 0.

    Example:
      >>> certain, even = jnp.array([[9.0, -9.0]]), jnp.zeros((1, 2))
      >>> state = TeacherState(jnp.zeros(2), jnp.float32(0.04))
      >>> total, weight = dino([certain, even], [certain], state, jnp.ones(1))
      >>> print(round(float(total / weight), 4))  # log 2: an even student, a certain teacher
      0.6931
    """
    targets = [jnp.exp(teacher_log_probabilities(logits, state)) for logits in teachers]
    predictions = [
        jax.nn.log_softmax(logits.astype(jnp.float32) / student_temperature) for logits in students
    ]
    losses = [
        -(target * prediction).sum(-1)
        for i, target in enumerate(targets)
        for j, prediction in enumerate(predictions)
        if i != j
    ]
    return Mean.of(sum(losses) / len(losses), weights)


def teacher_entropy(teachers: Sequence[jax.Array], state: TeacherState, weights: jax.Array) -> Mean:
    """Entropy of the teacher's distribution in nats, a metric (arXiv:2104.14294, figure 7).

    It is log(prototypes) where the outputs have collapsed to the uniform distribution, and 0 where they have collapsed
    to one prototype. In both cases the loss equals it, as all images have the same distribution.

    Args:
      teachers: logits of the views that the teacher sees, each [batch, prototypes].
      state: of the teacher.
      weights: [batch] float32, 0 for images that do not count.

    Example:
      >>> state = TeacherState(jnp.zeros(2), jnp.float32(0.04))
      >>> total, weight = teacher_entropy([jnp.zeros((1, 2))], state, jnp.ones(1))
      >>> print(round(float(total / weight), 4))
      0.6931
    """
    logs = [teacher_log_probabilities(logits, state) for logits in teachers]
    entropies = [-(jnp.exp(log) * log).sum(-1) for log in logs]
    return Mean.of(sum(entropies) / len(entropies), weights)


def update_centre(
    teachers: Sequence[jax.Array], state: TeacherState, weights: jax.Array, *, momentum: float = 0.9
) -> TeacherState:
    """The state with its centre moved towards the teacher's mean logits (arXiv:2104.14294, equation 4).

    Args:
      teachers: logits of the views that the teacher sees, each [batch, prototypes].
      state: of the teacher.
      weights: [batch]; images of weight 0 do not count, and a batch without weight leaves the centre as it is.
      momentum: share of the old centre that is kept.

    Example:
      >>> state = TeacherState(jnp.zeros(2), jnp.float32(0.04))
      >>> print(update_centre([jnp.array([[1.0, 2.0]])], state, jnp.ones(1)).centre)
      [0.1 0.2]
    """
    count = weights.sum()
    logits = jax.lax.stop_gradient(sum(x.astype(jnp.float32) for x in teachers) / len(teachers))
    mean = (logits * weights[:, None]).sum(0) / jnp.where(count > 0, count, 1)
    centre = momentum * state.centre + (1 - momentum) * mean
    return state._replace(centre=jnp.where(count > 0, centre, state.centre))


def linear_warmup(step: jax.Array | int, first: float, last: float, warmup_steps: int) -> jax.Array:
    """A value that rises linearly over the first steps, such as the teacher's temperature (arXiv:2104.14294, 3.2).

    In facebookresearch/dino the temperature rises once per epoch, here at every step.

    Args:
      step: counts from 1.
      first: the value at step 1.
      last: the value from step `warmup_steps` on; at every step for a warm-up of 0 or 1 steps.
      warmup_steps: length of the rise.

    Example:
      >>> print([round(float(linear_warmup(step, 0.04, 0.07, 4)), 4) for step in (1, 2, 4, 9)])
      [0.04, 0.05, 0.07, 0.07]
    """
    if warmup_steps < 2:
        return jnp.float32(last)
    progress = (jnp.asarray(step, jnp.float32) - 1) / (warmup_steps - 1)
    return first + (last - first) * jnp.minimum(progress, 1.0)
