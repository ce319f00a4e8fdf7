"""Autoencoders: an encoder compresses an image to a vector, the code, from which a decoder reconstructs it.

They are dense, as in Hinton & Salakhutdinov 2006 (https://doi.org/10.1126/science.1127647), with ReLU instead of
logistic units, which needed layer-wise pretraining; or convolutional.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import Dtype, Settings, Width
from ssl_jax.models.conv_autoencoder import ConvConfig, ConvDecoder, ConvEncoder
from ssl_jax.models.perceptron import Perceptron


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig(Settings):
    """The shape of an autoencoder. The defaults are Hinton and Salakhutdinov's for MNIST."""

    kind: Literal["dense", "convolutional"] = "dense"
    """Kind of the encoder and the decoder."""
    hidden: tuple[Width, ...] = (1000, 500, 250)
    """Widths of the hidden layers of the dense encoder; the decoder has them in reverse order."""
    convolutional: ConvConfig = dataclasses.field(default_factory=ConvConfig)
    """The convolutional encoder and decoder; linear maps connect their coarse grid with the code."""
    code: Literal["linear", "sigmoid"] = "linear"
    """Activation of the code; sigmoid as in the one-layer autoencoders of Vincent et al. (2008)."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters and codes are float32."""

    def check(self, shape: tuple[int, ...]) -> None:
        """Checks that images of this shape can be encoded.

        Raises:
          UserError: the strides of the convolutional encoder do not divide the shape.
        """
        if self.kind == "convolutional":
            self.convolutional.coarse(shape[:-1])


class Autoencoder(nn.Module):
    """An encoder and a decoder.

    Attributes:
      config: their shape.
      code_size: size of the code.
      shape: of an image, `(height, width, channels)`, or of a sequence, `(length, channels)`.
    """

    config: AutoencoderConfig
    code_size: int
    shape: tuple[int, ...]

    def setup(self) -> None:
        c = self.config
        if c.kind == "dense":
            self.encoder = Perceptron((*c.hidden, self.code_size), c.dtype)
            self.decoder = Perceptron((*reversed(c.hidden), math.prod(self.shape)), c.dtype)
            return
        self.encoder = ConvEncoder(c.convolutional, c.dtype)
        self.to_code = Perceptron((self.code_size,), c.dtype)
        self.grid = (*c.convolutional.coarse(self.shape[:-1]), c.convolutional.width)
        self.from_code = Perceptron((math.prod(self.grid),), c.dtype)
        self.decoder = ConvDecoder(c.convolutional, self.shape[-1], c.dtype)

    def encode(self, images: jax.Array) -> jax.Array:
        """`[batch, *shape]` to float32 `[batch, code_size]`."""
        if self.config.kind == "dense":
            code = self.encoder(images.reshape(images.shape[0], -1))
        else:
            grid = self.encoder(images)
            code = self.to_code(grid.reshape(grid.shape[0], -1))
        return nn.sigmoid(code) if self.config.code == "sigmoid" else code

    def decode(self, code: jax.Array) -> jax.Array:
        """`[batch, code_size]` to float32 logits `[batch, *shape]`, whose sigmoid are pixels in [0, 1]."""
        if self.config.kind == "dense":
            return self.decoder(code).reshape(-1, *self.shape)
        return self.decoder(nn.relu(self.from_code(code)).reshape(-1, *self.grid))

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits `[batch, *shape]` of the reconstruction of images."""
        return self.decode(self.encode(images.astype(jnp.float32)))
