"""A linear classifier that is trained beside a representation, on labels that the representation never learns of."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Batch, Mean, Tree


def init_probe(rng: jax.Array, features: int, classes: int) -> dict[str, Tree]:
    """The parameters `{"probe": ...}` of a probe for `classes` classes; none for 0."""
    if not classes:
        return {}
    kernel = jax.nn.initializers.lecun_normal()(rng, (features, classes))
    return {"probe": {"kernel": kernel, "bias": jnp.zeros(classes)}}


def probe_metrics(
    params: Mapping[str, Tree], representation: jax.Array, batch: Batch
) -> tuple[dict[str, Mean], dict[str, Mean]]:
    """({"probe_loss"}, {"probe_accuracy"}) over the labelled examples of a batch; nothing without a probe.

    representation: [batch, features]; no gradient goes back into it.
    """
    if "probe" not in params:
        return {}, {}
    kernel, bias = params["probe"]["kernel"], params["probe"]["bias"]
    return label_metrics("probe", jax.lax.stop_gradient(representation) @ kernel + bias[None], batch)


def label_metrics(name: str, logits: jax.Array, batch: Batch) -> tuple[dict[str, Mean], dict[str, Mean]]:
    """({name_loss}, {name_accuracy}) of `logits [batch, classes]` over the labelled examples of a batch."""
    labels = batch["label"]
    labelled = batch["example_weight"] * (labels >= 0)
    labels = jnp.maximum(labels, 0)
    return (
        {f"{name}_loss": cross_entropy(logits, labels, labelled)},
        {f"{name}_accuracy": accuracy(logits, labels, labelled)},
    )
