"""A bidirectional transformer over frames of features, with a head that reconstructs them (Mockingjay, 1910.12638)."""

import dataclasses
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.models.layers import Dense, LayerNorm
from ssl_jax.models.transformer import Layer, TransformerConfig
from ssl_jax.ops.dropout import dropout


class Reconstruction(NamedTuple):
    """What the network makes of an utterance.

    Attributes:
      features: float32 `[batch, frames, width of the features]`.
      layers: `[batch, frames, width]`, the output of each layer.
    """

    features: jax.Array
    layers: tuple[jax.Array, ...]


class SpeechTransformer(nn.Module):
    """A linear map of the features plus sinusoidal positions, normalised; layers; a head of two dense layers.

    Layers are applied one after the other, not under `nn.scan`, since reports and probes take the output of each.

    Attributes:
      config: of the layers.
      features: numbers of a frame.
    """

    config: TransformerConfig
    features: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, *, deterministic: bool = True) -> Reconstruction:
        """Of features `[batch, frames, width]`.

        Args:
          x: features.
          mask: bool `[batch, frames]`, the true frames; no frame attends to others.
          deterministic: turns dropout off. Otherwise the call needs the "dropout" key.
        """
        c = self.config
        positions = jnp.asarray(sinusoids(x.shape[1], c.width))[None]
        x = Dense((c.width,), c.initializer_stddev, c.dtype, name="input")(x) + positions.astype(c.dtype)
        x = LayerNorm(c.norm_epsilon, c.dtype, name="input_norm")(x)
        x = dropout(x, c.dropout, None if deterministic else self.make_rng("dropout"))
        attended, states = mask[:, None, None], []
        for number in range(1, c.layers + 1):
            layer = Layer(c, deterministic, name=f"layer{number}")
            x, _ = layer(x, None, attended, None, None, None)
            states.append(x)
        head = Dense((c.width,), c.initializer_stddev, c.dtype, name="head")(x)
        head = LayerNorm(c.norm_epsilon, c.dtype, name="head_norm")(jax.nn.gelu(head, approximate=False))
        out = Dense((self.features,), c.initializer_stddev, c.dtype, name="reconstruction")(head)
        return Reconstruction(out.astype(jnp.float32), tuple(states))


def sinusoids(length: int, width: int) -> np.ndarray:
    """Sines and cosines of positions (arXiv:1706.03762, section 3.5), float32 `[length, width]`."""
    angle = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2)[None] / width)
    table = np.zeros((length, 2 * angle.shape[1]), np.float32)
    table[:, 0::2], table[:, 1::2] = np.sin(angle), np.cos(angle)
    return table[:, :width]


def layers_of(layers: int, width: int, **changes: object) -> TransformerConfig:
    """Layers as BERT's: post-norm, heads of 64 numbers or fewer, an MLP four times as wide."""
    config = TransformerConfig(layers=layers, width=width, heads=max(1, width // 64), mlp_width=4 * width)
    return dataclasses.replace(config, **changes)
