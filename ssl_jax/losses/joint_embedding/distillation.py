"""Self-distillation: a student predicts the distribution over prototypes that a teacher gives another view (DINO)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssl_jax.method import Mean


def teacher_log_probabilities(
    teacher: jax.Array, centre: jax.Array, temperature: jax.Array | float
) -> jax.Array:
    """The teacher's centred and sharpened distribution (arXiv:2104.14294, 3.1), without gradient.

    Args:
      teacher: [batch, prototypes] logits, any float type; computed in float32.
      centre: [prototypes], taken off the logits; see `update_centre`.
      temperature: below that of the student, which sharpens the distribution.

    Returns:
      float32 [batch, prototypes].

    Example:
      >>> print(jnp.exp(teacher_log_probabilities(jnp.array([[3.0, 1.0]]), jnp.array([3.0, 1.0]), 0.04)))
      [[0.5 0.5]]
    """
    logits = teacher.astype(jnp.float32) - centre[None]
    return jax.lax.stop_gradient(jax.nn.log_softmax(logits / temperature))


def dino(
    students: Sequence[jax.Array],
    teachers: Sequence[jax.Array],
    centre: jax.Array,
    weights: jax.Array,
    *,
    student_temperature: float,
    teacher_temperature: jax.Array | float,
) -> Mean:
    """Cross-entropy of the student's distribution to the teacher's of another view (arXiv:2104.14294, equation 3).

    The mean over all pairs of a teacher's view and another view of the student, as in facebookresearch/dino; the
    paper's formula is their sum. No gradient goes into teachers and centre.

    Args:
      students: logits of all views of the student, each [batch, prototypes], any float type; computed in float32.
      teachers: logits of the views that the teacher sees, which are the first ones of the student.
      centre: [prototypes]; see `update_centre`.
      weights: [batch] float32, 0 for images that do not count.
      student_temperature: above 0; the paper's is 0.1.
      teacher_temperature: above 0; the paper's rises from 0.04 to 0.07, see `teacher_temperature`.

    Example:
      >>> certain, even = jnp.array([[9.0, -9.0]]), jnp.zeros((1, 2))
      >>> total, weight = dino(
      ...     [certain, even], [certain], jnp.zeros(2), jnp.ones(1), student_temperature=0.1, teacher_temperature=0.04
      ... )
      >>> print(round(float(total / weight), 4))  # log 2: the even student predicts the certain teacher
      0.6931
    """
    targets = [jnp.exp(teacher_log_probabilities(x, centre, teacher_temperature)) for x in teachers]
    predictions = [jax.nn.log_softmax(x.astype(jnp.float32) / student_temperature) for x in students]
    losses = [
        -(target * prediction).sum(-1)
        for i, target in enumerate(targets)
        for j, prediction in enumerate(predictions)
        if i != j
    ]
    return Mean.of(sum(losses) / len(losses), weights)


def teacher_entropy(
    teachers: Sequence[jax.Array],
    centre: jax.Array,
    weights: jax.Array,
    *,
    temperature: jax.Array | float,
) -> Mean:
    """Entropy of the teacher's distribution in nats, a metric (arXiv:2104.14294, figure 7).

    Where the outputs have collapsed to the uniform distribution, it is log(prototypes); where they have collapsed to
    one prototype, it is 0. In either case the loss equals it, as nothing is left to tell images apart.

    Args:
      teachers: logits of the views that the teacher sees, each [batch, prototypes].
      centre: [prototypes].
      weights: [batch] float32.
      temperature: of the teacher.

    Example:
      >>> total, weight = teacher_entropy([jnp.zeros((1, 2))], jnp.zeros(2), jnp.ones(1), temperature=0.04)
      >>> print(round(float(total / weight), 4))
      0.6931
    """
    logs = [teacher_log_probabilities(x, centre, temperature) for x in teachers]
    entropies = [-(jnp.exp(log) * log).sum(-1) for log in logs]
    return Mean.of(sum(entropies) / len(entropies), weights)


def update_centre(
    centre: jax.Array, teachers: Sequence[jax.Array], weights: jax.Array, *, momentum: float
) -> jax.Array:
    """The moving average of the teacher's mean logits (arXiv:2104.14294, equation 4).

    Args:
      centre: float32 [prototypes].
      teachers: logits of the views that the teacher sees, each [batch, prototypes].
      weights: [batch]; images of weight 0 do not count, and a batch without weight leaves the centre as it is.
      momentum: share of the old centre that is kept; the paper's is 0.9.

    Example:
      >>> print(update_centre(jnp.zeros(2), [jnp.array([[1.0, 2.0]])], jnp.ones(1), momentum=0.9))
      [0.1 0.2]
    """
    count = weights.sum()
    logits = jax.lax.stop_gradient(sum(x.astype(jnp.float32) for x in teachers) / len(teachers))
    mean = (logits * weights[:, None]).sum(0) / jnp.where(count > 0, count, 1)
    return jnp.where(count > 0, momentum * centre + (1 - momentum) * mean, centre)


def teacher_temperature(step: jax.Array | int, *, first: float, last: float, warmup_steps: int) -> jax.Array:
    """The teacher's temperature, which rises linearly (arXiv:2104.14294, 3.2).

    facebookresearch/dino raises it once an epoch, here it rises at every step.

    Args:
      step: counts from 1.
      first: at step 1.
      last: at step `warmup_steps` and from there on; at every step for a warm-up of 0 or 1 steps.
      warmup_steps: length of the rise.

    Example:
      >>> at = lambda step: teacher_temperature(step, first=0.04, last=0.07, warmup_steps=4)
      >>> print([round(float(at(step)), 4) for step in (1, 2, 4, 9)])
      [0.04, 0.05, 0.07, 0.07]
    """
    if warmup_steps < 2:
        return jnp.float32(last)
    progress = (jnp.asarray(step, jnp.float32) - 1) / (warmup_steps - 1)
    return first + (last - first) * jnp.minimum(progress, 1.0)
