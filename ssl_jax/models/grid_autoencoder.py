"""An autoencoder whose code is a grid of vectors, the input of a quantiser."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.conv_autoencoder import ConvConfig, ConvDecoder, ConvEncoder, Convolution


class GridAutoencoder(nn.Module):
    """A convolutional encoder and decoder of images `[batch, height, width, channels]` or sequences `[batch, length,
    channels]`.

    Attributes:
      config: shape of encoder and decoder.
      code_width: channels of the code.
      channels: of the images.
      dtype: dtype of the computation, float32 or bfloat16; parameters and codes are float32.
    """

    config: ConvConfig
    code_width: int
    channels: int
    dtype: str = "float32"

    def setup(self) -> None:
        self.encoder = ConvEncoder(self.config, self.dtype)
        self.to_code = Convolution(self.code_width, 1)
        self.decoder = ConvDecoder(self.config, self.channels, self.dtype)

    def encode(self, images: jax.Array) -> jax.Array:
        """Encodes images as float32 `[batch, height / stride, width / stride, code_width]`.

        Raises:
          UserError: a size is not divisible by the stride.
        """
        return self.to_code(self.encoder(images).astype(jnp.float32))

    def decode(self, code: jax.Array) -> jax.Array:
        """Reconstructs float32 images from the code."""
        return self.decoder(code)

    def __call__(self, images: jax.Array) -> jax.Array:
        """The reconstruction of images, without a quantiser."""
        return self.decode(self.encode(images))
