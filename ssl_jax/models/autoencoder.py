"""Encoder, bottleneck, decoder: an image as a vector of a few numbers, and back.

Dense, as Hinton & Salakhutdinov 2006 (https://doi.org/10.1126/science.1127647) have them, with ReLU where they have
logistic units, which needed layer-wise pretraining; or convolutional.
"""

import dataclasses
import math
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.errors import UserError
from ssl_jax.models.conv_autoencoder import ConvConfig, ConvDecoder, ConvEncoder
from ssl_jax.models.perceptron import Perceptron


@dataclasses.dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of an autoencoder; the defaults are Hinton and Salakhutdinov's for MNIST."""

    kind: Literal["dense", "convolutional"] = "dense"
    """Of the encoder and the decoder."""
    hidden: tuple[int, ...] = (1000, 500, 250)
    """Widths of the dense encoder's hidden layers; the decoder has them the other way round."""
    convolutional: ConvConfig = dataclasses.field(default_factory=ConvConfig)
    """Of the convolutional encoder and decoder; a linear map leads from their coarse grid to the code and back."""
    code: Literal["linear", "sigmoid"] = "linear"
    """What the code is of the encoder's output. sigmoid: the units of Vincent et al.'s one-layer autoencoders."""
    dtype: str = "float32"
    """Of the computation, float32 or bfloat16; parameters and codes are float32."""

    def __post_init__(self) -> None:
        if min(self.hidden, default=1) < 1:
            raise UserError(f"network.hidden {self.hidden}: every layer must have a width of at least 1.")

    def check(self, shape: tuple[int, ...]) -> None:
        """UserError unless images of this shape can be coded: a convolutional encoder's strides must divide it."""
        if self.kind == "convolutional":
            self.convolutional.coarse(shape[:-1])


class Autoencoder(nn.Module):
    """Both halves.

    Attributes:
        code_size: numbers in the code.
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
            found = self.encoder(images.reshape(images.shape[0], -1))
        else:
            grid = self.encoder(images)
            found = self.to_code(grid.reshape(grid.shape[0], -1))
        return nn.sigmoid(found) if self.config.code == "sigmoid" else found

    def decode(self, code: jax.Array) -> jax.Array:
        """`[batch, code_size]` to float32 logits `[batch, *shape]`; their logistic function are pixels in [0, 1]."""
        if self.config.kind == "dense":
            return self.decoder(code).reshape(-1, *self.shape)
        return self.decoder(nn.relu(self.from_code(code)).reshape(-1, *self.grid))

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.decode(self.encode(images.astype(jnp.float32)))
