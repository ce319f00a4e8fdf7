"""Losses that bring the views of an image together, each importable alone: arrays in, a `Mean` over examples out.

An example of weight 0 only fills up a batch: it counts neither for itself nor as a negative nor in a statistic.
"""

from ssl_jax.losses.joint_embedding.contrastive import Queue, enqueue, info_nce, nt_xent, random_queue
from ssl_jax.losses.joint_embedding.correlation import barlow_twins, vicreg
from ssl_jax.losses.joint_embedding.distillation import (
    TeacherState,
    dino,
    linear_warmup,
    teacher_entropy,
    teacher_log_probabilities,
    update_centre,
)
from ssl_jax.losses.joint_embedding.regression import cosine_regression, symmetric_regression
from ssl_jax.losses.joint_embedding.vectors import normalise

__all__ = [
    "Queue",
    "TeacherState",
    "barlow_twins",
    "cosine_regression",
    "dino",
    "enqueue",
    "info_nce",
    "linear_warmup",
    "normalise",
    "nt_xent",
    "random_queue",
    "symmetric_regression",
    "teacher_entropy",
    "teacher_log_probabilities",
    "update_centre",
    "vicreg",
]
