"""An autoencoder whose code is a grid of vectors, for quantisers: coarse images, or short sequences."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.conv_autoencoder import ConvConfig, ConvDecoder, ConvEncoder, Convolution


class GridAutoencoder(nn.Module):
    """Both halves; images `[batch, height, width, channels]` or sequences `[batch, length, channels]`.

    Attributes:
        code_width: channels of the code.
        channels: of an image.
        dtype: of the computation, float32 or bfloat16; parameters and codes are float32.
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
        """To float32 `[batch, height / stride, width / stride, code_width]`. UserError if the stride does not fit."""
        return self.to_code(self.encoder(images).astype(jnp.float32))

    def decode(self, code: jax.Array) -> jax.Array:
        """Back to float32 images."""
        return self.decoder(code)

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.decode(self.encode(images))
