"""A multi-layer perceptron, such as either half of a dense autoencoder (Hinton & Salakhutdinov 2006)."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.layers import Dense
from ssl_jax.placement import along_batch


class Perceptron(nn.Module):
    """Dense layers with ReLU between them.

    Kernels are initialised with variance 2 / fan-in (arXiv:1502.01852), which keeps the variance of the activations
    constant over the layers.

    Attributes:
      widths: of every layer; the last one is the width of the output.
      dtype: dtype of the computation; parameters are float32.
    """

    widths: tuple[int, ...]
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, inputs]` to float32 `[batch, widths[-1]]`."""
        for layer, width in enumerate(self.widths, 1):
            x = along_batch(
                Dense(
                    (width,),
                    stddev=math.sqrt(2 / x.shape[-1]),
                    dtype=self.dtype,
                    activation="relu" if layer > 1 else None,
                    name=f"dense{layer}",
                )(x)
            )
        return x.astype(jnp.float32)
