"""An encoder and a linear classifier, trained together on labels: for fine-tuning, and for training from scratch."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.method import Aux, Batch, Extras, Mean, Method, Represent, Tree
from ssl_jax.methods.image_method import ImageMethod, blank_views, frozen_encoder
from ssl_jax.methods.online_probe import label_metrics
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.transforms.images import ViewConfig, random_views


class ImageClassifier(NamedTuple):
    """An encoder with a classifier.

    Attributes:
      images: the objective, and the representation.
      logits: `(params, extras, batch) -> float32 [batch, classes]` of the images as they are.
    """

    images: ImageMethod
    logits: Represent


def image_classification(config: ResNetConfig, view: ViewConfig, classes: int) -> ImageClassifier:
    """A method whose loss is the cross-entropy of the labels.

    The parameters of the encoder have the paths that they have in pretraining, for `--init_from`. The classifier starts
    at zero, so that the first steps do not harm a pretrained encoder.

    Args:
      config: of the encoder.
      view: how an image is augmented in training.
      classes: number of labels.
    """
    encoder, head = ResNet(config), nn.Dense(classes, kernel_init=nn.initializers.zeros)
    represent = frozen_encoder(encoder, view)

    def init(rng: jax.Array, batch: Batch) -> dict[str, Tree]:
        encoder_rng, head_rng = jax.random.split(rng)
        image = blank_views(view, batch)
        variables = encoder.init(encoder_rng, image, train=True)
        params = {
            "encoder": variables["params"],
            "head": head.init(head_rng, jnp.zeros((1, config.features), jnp.float32))["params"],
        }
        return {"params": params, "batch_stats": {"encoder": variables["batch_stats"]}}

    def classify(params: Tree, features: jax.Array) -> jax.Array:
        return head.apply({"params": params["head"]}, features)

    def logits(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return classify(params, represent(params, extras, batch)).astype(jnp.float32)

    def loss(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> tuple[dict[str, Mean], Aux]:
        images = random_views(rng, batch["image"], batch["extent"], view)
        variables = {"params": params["encoder"], "batch_stats": extras["batch_stats"]["encoder"]}
        features, changed = encoder.apply(variables, images, train=True, mutable=["batch_stats"])
        losses, metrics = label_metrics("class", classify(params, features), batch)
        return losses, Aux(metrics, {**extras, "batch_stats": {"encoder": changed["batch_stats"]}})

    def evaluate(params: Tree, extras: Extras, batch: Batch, rng: jax.Array) -> dict[str, Mean]:
        losses, metrics = label_metrics("class", logits(params, extras, batch), batch)
        return losses | metrics

    return ImageClassifier(ImageMethod(Method(init, loss, evaluate), represent), logits)
