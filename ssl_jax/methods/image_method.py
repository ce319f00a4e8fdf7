"""What methods on images have in common: their form, and how a frozen encoder sees an image."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssl_jax.method import Batch, Extras, Method, Represent, Tree
from ssl_jax.models.resnet import ResNet, ResNetConfig
from ssl_jax.transforms.images import ViewConfig, plain_view


class ImageMethod(NamedTuple):
    """A method on batches of `ssl_jax.data.images.batch_shapes`, with the encoder at `encoder` in its parameters.

    represent: `(params, extras, batch) -> [batch, features]` of the images as they are.
    """

    method: Method
    represent: Represent


def blank_views(view: ViewConfig, batch: Batch) -> jax.Array:
    """[2, size, size, channels], the least that a network with batch statistics is initialised on."""
    return jnp.zeros((2, view.size, view.size, batch["image"].shape[-1]))


def frozen_encoder(config: ResNetConfig, view: ViewConfig) -> Represent:
    """The encoder of a method by its running statistics, on the plain view of each image."""
    encoder = ResNet(config)

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        images = plain_view(batch["image"], batch["extent"], view.size, view.centre)
        variables = {"params": params["encoder"], "batch_stats": extras["batch_stats"]["encoder"]}
        return encoder.apply(variables, images, train=False)

    return represent
