"""A linear classifier that is trained beside a representation, on labels that do not influence the representation."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Batch, Mean, Tree


def init_probe(rng: jax.Array, features: int, classes: int) -> dict[str, Tree]:
    """The parameters of a probe.

    Args:
      rng: of the initialisation.
      features: width of the representation.
      classes: number of labels; 0 for no probe.

    Returns:
      `{"probe": ...}`, or `{}` for no probe.
    """
    if not classes:
        return {}
    kernel = jax.nn.initializers.lecun_normal()(rng, (features, classes), jnp.float32)
    return {"probe": {"kernel": kernel, "bias": jnp.zeros(classes, jnp.float32)}}


def probe_metrics(
    params: Mapping[str, Tree], representation: jax.Array, batch: Batch
) -> tuple[dict[str, Mean], dict[str, Mean]]:
    """Loss and accuracy of the probe over the labelled examples of a batch.

    Args:
      params: of the method.
      representation: [batch, features]; it gets no gradient.
      batch: with `label`, -1 for images without one.

    Returns:
      ({"probe_loss": ...}, {"probe_accuracy": ...}), or ({}, {}) where `params` have no probe.
    """
    if "probe" not in params:
        return {}, {}
    kernel, bias = params["probe"]["kernel"], params["probe"]["bias"]
    return label_metrics("probe", jax.lax.stop_gradient(representation) @ kernel + bias[None], batch)


def label_metrics(name: str, logits: jax.Array, batch: Batch) -> tuple[dict[str, Mean], dict[str, Mean]]:
    """Loss and accuracy of a classifier over the labelled examples of a batch.

    Args:
      name: of the classifier.
      logits: [batch, classes].
      batch: with `label`, -1 for images without one.

    Returns:
      ({"NAME_loss": ...}, {"NAME_accuracy": ...}).
    """
    labels = batch["label"]
    labelled = batch["example_weight"] * (labels >= 0).astype(jnp.float32)
    labels = jnp.maximum(labels, 0)
    return (
        {f"{name}_loss": cross_entropy(logits, labels, labelled)},
        {f"{name}_accuracy": accuracy(logits, labels, labelled)},
    )
