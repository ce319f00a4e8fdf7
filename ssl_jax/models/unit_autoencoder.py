"""Convolutional encoder and decoder over frames of speech, for discrete units (arXiv:1901.08810, section III).

Frames after the end of an utterance are set to 0 after every layer, as they are before the first: what follows an
utterance in its row changes nothing of it.
"""

import dataclasses
import math
from typing import Annotated

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import Dtype, Settings, Width, integers
from ssl_jax.errors import UserError
from ssl_jax.models.conv_autoencoder import Convolution
from ssl_jax.models.layers import LayerNorm, Table

NORM_EPSILON = 1e-5


@dataclasses.dataclass(frozen=True)
class UnitNetworkConfig(Settings):
    """The shape of the encoder and of its mirror image, the decoder."""

    width: Width = 768
    """Channels of all convolutions."""
    strides: tuple[Annotated[int, integers(2, 64)], ...] = (2,)
    """Stride of each convolution that shrinks the frames of 10 ms: 2 gives 50 units a second, 2 2 gives 25."""
    residual_blocks: Annotated[int, integers(0, 100)] = 2
    """Convolutions of size 3 with a residual sum, at the rate of the units, in the encoder and in the decoder."""
    speaker_width: Width = 64
    """Numbers that stand for a speaker."""
    dtype: Dtype = "float32"
    """Of the computation; parameters are float32."""

    def check_relations(self) -> None:
        if not self.strides:
            raise UserError("network.strides: give at least one, such as 2, which gives 50 units a second.")

    @property
    def stride(self) -> int:
        """Frames that a unit stands for."""
        return math.prod(self.strides)

    def lengths(self, frames: jax.Array) -> list[jax.Array]:
        """True places of each utterance before and after each strided convolution, int `[batch]` each.

        The last ones are the true units: a unit is true if the first of its frames is.
        """
        found = [frames]
        for stride in self.strides:
            found.append(-(-found[-1] // stride))
        return found


def masked(x: jax.Array, lengths: jax.Array) -> jax.Array:
    """`x [batch, places, channels]` with zeros after the true places `lengths [batch]`."""
    true = jnp.arange(x.shape[1], dtype=jnp.int32)[None] < lengths[:, None]
    return jnp.where(true[..., None], x, jnp.zeros((), x.dtype))


class UnitEncoder(nn.Module):
    """Frames to one vector for each unit.

    Attributes:
      config: the shape.
      outputs: numbers of a vector.
    """

    config: UnitNetworkConfig
    outputs: int

    @nn.compact
    def __call__(self, features: jax.Array, frames: jax.Array) -> jax.Array:
        """`features [batch, frames, width]` to float32 `[batch, frames / stride, outputs]`.

        Args:
          features: normalised, 0 where not true; as many frames as the stride divides.
          frames: int `[batch]`, the true frames.
        """
        c = self.config
        lengths = c.lengths(frames)
        x = masked(nn.relu(Convolution(c.width, 3, name="input")(features.astype(c.dtype))), frames)
        for number, stride in enumerate(c.strides, 1):
            x = Convolution(c.width, 2 * stride, stride, name=f"shrink{number}")(x)
            x = masked(nn.relu(x), lengths[number])
        x = _residual(x, lengths[-1], c)
        # Vectors of a bounded length: otherwise the first steps move them faster than a codebook follows.
        x = Convolution(self.outputs, 1, name="output")(LayerNorm(NORM_EPSILON, c.dtype, name="norm")(x))
        return masked(x, lengths[-1]).astype(jnp.float32)


class UnitDecoder(nn.Module):
    """Vectors of units, and a speaker, to features of the frames.

    Attributes:
      config: the shape.
      outputs: numbers of a frame.
      speakers: of the table of speakers; 0 for a decoder that is not told the speaker.
    """

    config: UnitNetworkConfig
    outputs: int
    speakers: int

    @nn.compact
    def __call__(self, vectors: jax.Array, speaker: jax.Array, frames: jax.Array) -> jax.Array:
        """`vectors [batch, units, width]` to float32 `[batch, units * stride, outputs]`.

        Args:
          vectors: of the units.
          speaker: int32 `[batch]`, rows of the table of speakers.
          frames: int `[batch]`, the true frames.
        """
        c = self.config
        lengths = c.lengths(frames)
        x = vectors.astype(c.dtype)
        if self.speakers:
            known = Table(self.speakers, c.speaker_width, 1.0, name="speakers")(speaker).astype(c.dtype)
            known = jnp.broadcast_to(known[:, None], (*x.shape[:2], c.speaker_width))
            x = jnp.concatenate([x, known], -1)
        x = masked(Convolution(c.width, 3, name="input")(masked(x, lengths[-1])), lengths[-1])
        x = _residual(x, lengths[-1], c)
        for number, stride in reversed([*enumerate(c.strides, 1)]):
            x = Convolution(c.width, 2 * stride, stride, transposed=True, name=f"enlarge{number}")(x)
            x = masked(nn.relu(x), lengths[number - 1])
        return Convolution(self.outputs, 3, zero_init=True, name="output")(x).astype(jnp.float32)


def _residual(x: jax.Array, lengths: jax.Array, config: UnitNetworkConfig) -> jax.Array:
    """The residual blocks of the module that calls it, and a ReLU after the last."""
    for number in range(1, config.residual_blocks + 1):
        x = masked(x + Convolution(config.width, 3, name=f"residual{number}")(nn.relu(x)), lengths)
    return nn.relu(x)
