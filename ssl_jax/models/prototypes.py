"""A head that compares the output of a perceptron with learnt prototypes (DINO, arXiv:2104.14294, 3.2)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.projection import MlpConfig, ProjectionMlp
from ssl_jax.placement import along_batch

EPSILON = 1e-12
"""Smallest squared norm of what is normalised."""


class PrototypeHead(nn.Module):
    """Cosine similarities of a perceptron's output and prototypes.

    A linear layer with weight normalisation whose scales stay 1, on an input of unit length, as the head of
    facebookresearch/dino with `norm_last_layer`.

    Attributes:
      mlp: of the perceptron.
      prototypes: number of outputs.
    """

    mlp: MlpConfig
    prototypes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """Applies the head.

        Args:
          x: [batch, width], the output of an encoder.
          train: see `ProjectionMlp`.

        Returns:
          float32 [batch, prototypes], between -1 and 1.
        """
        x = ProjectionMlp(self.mlp, name="mlp")(x, train)
        shape = (self.mlp.features, self.prototypes)
        kernel = self.param("kernel", nn.initializers.normal(self.mlp.features**-0.5), shape, jnp.float32)
        x, kernel = _unit(x, axis=1).astype(self.mlp.dtype), _unit(kernel, axis=0).astype(self.mlp.dtype)
        # Summed in float32: the small temperatures of a softmax multiply the error of a half-precision sum.
        return along_batch(jnp.matmul(x, kernel, preferred_element_type=jnp.float32))


def _unit(x: jax.Array, axis: int) -> jax.Array:
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=axis, keepdims=True), EPSILON))
