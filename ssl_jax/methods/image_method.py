"""What methods on images have in common: their form, and the representation of an image by a frozen encoder."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.method import Batch, Extras, Method, Represent, Tree
from ssl_jax.transforms.images import ViewConfig, plain_view


class ImageMethod(NamedTuple):
    """A method on batches of `ssl_jax.data.images.batch_shapes`, with the encoder at `encoder` in its parameters.

    Attributes:
      method: what is trained.
      represent: `(params, extras, batch) -> [batch, features]` of the images as they are.
    """

    method: Method
    represent: Represent


def blank_views(view: ViewConfig, batch: Batch) -> jax.Array:
    """Zeros [2, size, size, channels], the smallest batch that initialises a network with batch statistics."""
    return jnp.zeros((2, view.size, view.size, batch["image"].shape[-1]), jnp.float32)


def frozen_encoder(encoder: nn.Module, view: ViewConfig) -> Represent:
    """What the encoder of a method makes of the plain view of each image, by its running statistics.

    Args:
      encoder: module `(images [batch, size, size, channels], train) -> [batch, features]`.
      view: its size and centre are those of the plain view.
    """

    def represent(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        images = plain_view(batch["image"], batch["extent"], view.size, view.centre)
        variables = {
            "params": params["encoder"],
            "batch_stats": extras["batch_stats"].get("encoder", {}),
        }
        return encoder.apply(variables, images, train=False)

    return represent
