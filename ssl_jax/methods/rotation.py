"""Rotation prediction: each image is turned four ways, and a classifier tells the turns apart (arXiv:1803.07728)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.losses.classification import cross_entropy
from ssl_jax.losses.metrics import accuracy
from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Tree
from ssl_jax.methods.image_method import ImageMethod, blank_views, frozen_encoder
from ssl_jax.methods.online_probe import init_probe, probe_metrics
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.transforms.images import ViewConfig, plain_view, random_views, rotate90

TURNS = 4


def rotation(config: ResNetConfig, view: ViewConfig, classes: int) -> ImageMethod:
    """A method whose loss is the cross-entropy of the turn. All four turns of an image are in a batch, as in the paper.

    Args:
      config: of the encoder.
      view: how the image that is turned is made.
      classes: of the online probe; 0 for none.
    """
    encoder, head = ResNet(config), nn.Dense(TURNS)
    represent = frozen_encoder(encoder, view)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        encoder_rng, head_rng, probe_rng = jax.random.split(rng, 3)
        image = blank_views(view, batch)
        variables = encoder.init(encoder_rng, image, train=True)
        params = {
            "encoder": variables["params"],
            "head": head.init(head_rng, jnp.zeros((1, config.features), jnp.float32))["params"],
            **init_probe(probe_rng, config.features, classes),
        }
        return {"params": params, "batch_stats": {"encoder": variables["batch_stats"]}}

    def losses_and_metrics(
        params: Tree, batch_stats: Tree, images: jax.Array, batch: Batch, train: bool
    ) -> tuple[dict[str, Mean], dict[str, Mean], Tree]:
        turned = jnp.stack(
            [rotate90(images, jnp.full(images.shape[0], turn, jnp.int32)) for turn in range(TURNS)], axis=1
        )
        turned = turned.reshape(-1, *images.shape[1:])
        variables = {"params": params["encoder"], "batch_stats": batch_stats["encoder"]}
        features, changed = encoder.apply(variables, turned, train=train, mutable=["batch_stats"])
        labels = jnp.tile(jnp.arange(TURNS, dtype=jnp.int32), images.shape[0])
        weights = jnp.repeat(batch["example_weight"], TURNS)
        logits = head.apply({"params": params["head"]}, features)
        probe_losses, of_probe = probe_metrics(params, features[::TURNS], batch)
        losses = {"rotation_loss": cross_entropy(logits, labels, weights), **probe_losses}
        metrics = {"rotation_accuracy": accuracy(logits, labels, weights), **of_probe}
        return losses, metrics, {"encoder": changed.get("batch_stats", batch_stats["encoder"])}

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        images = random_views(rng, batch["image"], batch["extent"], view)
        losses, metrics, batch_stats = losses_and_metrics(
            params, extras["batch_stats"], images, batch, train=True
        )
        return losses, Aux(metrics, {**extras, "batch_stats": batch_stats})

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        images = plain_view(batch["image"], batch["extent"], view.size, view.centre)
        losses, metrics, _ = losses_and_metrics(params, extras["batch_stats"], images, batch, train=False)
        return losses | metrics

    return ImageMethod(Method(init, loss, evaluate), represent)
