"""Gated recurrent units (arXiv:1406.1078) in one direction, as in cuDNN and PyTorch."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.layers import Dense
from ssl_jax.models.wav2vec import GumbelConfig, GumbelQuantizer


class GruLayer(nn.Module):
    """One layer over time.

    The gates of the inputs are computed for all frames at once; only the recurrent product is sequential.

    Attributes:
      width: units.
      dtype: of the computation; parameters are float32.
    """

    width: int
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[batch, frames, inputs]` to `[batch, frames, width]`; an output depends on no later frame."""
        inputs = Dense((3, self.width), None, self.dtype, name="input")(x)
        kernel = self.param("kernel", nn.initializers.orthogonal(), (self.width, 3 * self.width), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.width,), jnp.float32).astype(self.dtype)
        kernel = kernel.astype(self.dtype)

        def step(state: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
            product = (state @ kernel).reshape(*state.shape[:-1], 3, self.width)
            reset = jax.nn.sigmoid(gates[:, 0] + product[:, 0])
            update = jax.nn.sigmoid(gates[:, 1] + product[:, 1])
            candidate = jnp.tanh(gates[:, 2] + reset * (product[:, 2] + bias[None]))
            state = (1 - update) * candidate + update * state
            return state, state

        start = jnp.zeros((x.shape[0], self.width), self.dtype)
        _, states = jax.lax.scan(step, start, inputs.transpose(1, 0, 2, 3))
        return states.transpose(1, 0, 2)


class Prediction(NamedTuple):
    """What the network makes of an utterance.

    Attributes:
      prediction: float32 `[batch, frames, width of the features]`.
      layers: `[batch, frames, width]`, the output of each layer, before it is quantised.
      codes: int32 `[batch, frames]`, of the quantised layer; None if there is none.
    """

    prediction: jax.Array
    layers: tuple[jax.Array, ...]
    codes: jax.Array | None = None


class PredictiveGru(nn.Module):
    """Layers of `GruLayer`, each but the first added to its input, and a linear map to features (arXiv:1904.03240).

    Attributes:
      layers: number of layers.
      width: units of each.
      features: numbers of a predicted frame.
      dtype: of the computation; parameters are float32.
      codes: of a codebook that the output of a layer is quantised with (VQ-APC, arXiv:2005.08392); 0 for none.
      quantized_layer: its number, from 1.
    """

    layers: int
    width: int
    features: int
    dtype: str = "float32"
    codes: int = 0
    quantized_layer: int = 1

    @nn.compact
    def __call__(
        self, x: jax.Array, temperature: jax.Array | None = None, key: jax.Array | None = None
    ) -> Prediction:
        """Of features `[batch, frames, inputs]`.

        Args:
          x: features.
          temperature: of the Gumbel-softmax that draws codes.
          key: of the draw; without one, each code is the likeliest one.
        """
        states, codes = [], None
        for number in range(1, self.layers + 1):
            out = GruLayer(self.width, self.dtype, name=f"layer{number}")(x)
            x = x + out if number > 1 else out
            states.append(x)
            if self.codes and number == self.quantized_layer:
                config = GumbelConfig(groups=1, codes=self.codes, code_width=self.width)
                chosen = GumbelQuantizer(config, name="quantizer")(x, temperature, key)
                x, codes = chosen.vectors.astype(self.dtype), chosen.codes[..., 0]
        predicted = Dense((self.features,), None, self.dtype, name="prediction")(x)
        return Prediction(predicted.astype(jnp.float32), tuple(states), codes)
