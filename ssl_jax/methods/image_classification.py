"""An encoder and a linear classifier, trained together on labels: fine-tuning, and training from scratch beside it."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Mean, Method, Tree
from ssl_jax.methods.online_probe import example_weights
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.transforms.images import ViewConfig, plain_view, random_views


class Classification(NamedTuple):
    """The method, its figures on held-out images as they are, and their representation; see `Experiment`."""

    method: Method
    evaluate: Callable[[Tree, Mapping[str, Tree], Batch, jax.Array], dict[str, Mean]]
    represent: Callable[[Tree, Mapping[str, Tree], Batch], jax.Array]


def image_classification(config: ResNetConfig, view: ViewConfig, classes: int) -> Classification:
    """A method on batches of `ssl_jax.data.images.batch_shapes`; the encoder's paths are those of pretraining.

    The classifier starts at zero, so that the first steps do not spoil the encoder.
    """
    encoder = ResNet(config)
    head = nn.Dense(classes, kernel_init=nn.initializers.zeros)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        encoder_rng, head_rng = jax.random.split(rng)
        image = jnp.zeros((2, view.size, view.size, batch["image"].shape[-1]))
        variables = encoder.init(encoder_rng, image, train=True)
        params = {
            "encoder": variables["params"],
            "head": head.init(head_rng, jnp.zeros((1, config.features)))["params"],
        }
        return {"params": params, "batch_stats": {"encoder": variables["batch_stats"]}}

    def figures(params: Tree, features: jax.Array, batch: Batch) -> tuple[dict[str, Mean], dict[str, Mean]]:
        logits = head.apply({"params": params["head"]}, features)
        weights = example_weights(batch) * (batch["label"] >= 0)
        labels = jnp.maximum(batch["label"], 0)
        return (
            {"class_loss": cross_entropy(logits, labels, weights)},
            {"class_accuracy": accuracy(logits, labels, weights)},
        )

    def loss(
        params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array
    ) -> tuple[dict[str, Mean], Aux]:
        images = random_views(rng, batch["image"], batch["extent"], view)
        variables = {"params": params["encoder"], "batch_stats": extras["batch_stats"]["encoder"]}
        features, changed = encoder.apply(variables, images, train=True, mutable=["batch_stats"])
        losses, metrics = figures(params, features, batch)
        return losses, Aux(metrics, {**extras, "batch_stats": {"encoder": changed["batch_stats"]}})

    def represent(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        images = plain_view(batch["image"], batch["extent"], view.size, view.centre)
        variables = {"params": params["encoder"], "batch_stats": extras["batch_stats"]["encoder"]}
        return encoder.apply(variables, images, train=False)

    def evaluate(params: Tree, extras: Mapping[str, Tree], batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = figures(params, represent(params, extras, batch), batch)
        return losses | metrics

    return Classification(Method(init, loss), evaluate, represent)
