"""The networks of AdaIN voice conversion (arXiv:1904.05742): content encoder, speaker encoder and decoder.

The layers are those of the authors' code (jjery2243542/adaptive_voice_conversion, model.py), but for the ends of an
utterance, which are followed by zeros in place of their reflection. Statistics of instance normalisation are those of
the true frames, and other frames are 0 before every convolution: an utterance has the same codes alone and in a padded
batch, to rounding.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.domains import CodeSize, Dtype, Layers, NonNegativeInt, Settings, Width
from ssl_jax.errors import UserError
from ssl_jax.models.layers import Dense
from ssl_jax.ops.convolution import convolve
from ssl_jax.placement import along_batch

EPSILON = 1e-5
"""Added to the variance of a channel, PyTorch's default."""
INITIALIZER = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""PyTorch's default. Blocks add up, and larger kernels begin with an error of ten times the features."""


@dataclasses.dataclass(frozen=True)
class VoiceConfig(Settings):
    """The size of the networks; the defaults are those of the authors' code."""

    width: Width = 128
    """Channels of all convolutions."""
    bank: Layers = 8
    """Convolutions of the bank at the beginning of an encoder, of 1, 2, ... frames."""
    kernel: Width = 5
    """Frames that a convolution of a block reads."""
    blocks: Layers = 6
    """Blocks of two convolutions of an encoder, and of the decoder."""
    halvings: NonNegativeInt = 3
    """Blocks of an encoder that halve the rate of the frames, which are every second one; the decoder doubles it."""
    dense_blocks: Layers = 6
    """Blocks of two dense layers of the speaker encoder."""
    content_size: CodeSize = 128
    """Numbers of a frame of the content code."""
    speaker_size: CodeSize = 128
    """Numbers of the speaker code."""
    dtype: Dtype = "float32"
    """Of the computation; parameters are float32."""

    def check_relations(self) -> None:
        if 2 * self.halvings > self.blocks:
            raise UserError(
                f"halvings {self.halvings}: every second one of {self.blocks} blocks halves the rate; expected at most "
                f"{self.blocks // 2}."
            )


def halved(mask: jax.Array) -> jax.Array:
    """The true frames `[batch, ceil(frames / 2)]` after a convolution of stride 2, of true frames at the beginning."""
    return mask[:, ::2]


def instance_norm(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Each channel with mean 0 and variance 1 over the true frames of an utterance; other frames become 0.

    Args:
      x: `[batch, frames, width]`; computed in float32.
      mask: bool `[batch, frames]`, the true frames.

    Returns:
      In the dtype of `x`.
    """
    weights = jnp.float32(mask)[..., None]
    count = jnp.maximum(weights.sum(1, keepdims=True), 1)
    wide = x.astype(jnp.float32)
    mean = (wide * weights).sum(1, keepdims=True) / count
    centred = (wide - mean) * weights
    variance = jnp.square(centred).sum(1, keepdims=True) / count
    return (centred * jax.lax.rsqrt(variance + EPSILON)).astype(x.dtype)


class Convolution(nn.Module):
    """A convolution over true frames.

    Attributes:
      features: channels of the output.
      size: frames that it reads.
      stride: frames from one output to the next.
      dtype: of the computation; parameters are float32.
      silent: whether the kernel begins as 0.
    """

    features: int
    size: int
    stride: int = 1
    dtype: str = "float32"
    silent: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """`[batch, frames, channels]` to `[batch, ceil(frames / stride), features]`."""
        shape = (self.size, x.shape[-1], self.features)
        init = nn.initializers.zeros if self.silent else INITIALIZER
        kernel = self.param("kernel", init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, shape[-1:], jnp.float32)
        x = x.astype(self.dtype) * mask[..., None].astype(self.dtype)
        return along_batch(convolve(x, kernel, self.stride)) + bias.astype(self.dtype)[None, None]


class Encoder(nn.Module):
    """The bank of convolutions and the blocks, which both encoders have.

    Attributes:
      config: sizes.
      normalise: whether every convolution but the bank is followed by `instance_norm`, which takes away what is
        constant in an utterance.
    """

    config: VoiceConfig
    normalise: bool

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of features `[batch, frames, filters]`: `[batch, frames / 2^halvings, width]`, and which are true."""
        c = self.config

        def activated(name: str, x: jax.Array, mask: jax.Array, size: int, stride: int = 1) -> jax.Array:
            y = Convolution(c.width, size, stride, c.dtype, name=name)(x, mask)
            return nn.relu(instance_norm(y, halved(mask) if stride == 2 else mask) if self.normalise else y)

        bank = [
            nn.relu(Convolution(c.width, size, 1, c.dtype, name=f"bank_{size}")(x, mask))
            for size in range(1, c.bank + 1)
        ]
        x = activated("reduction", jnp.concatenate([*bank, x.astype(c.dtype)], -1), mask, 1)
        for block in range(c.blocks):
            halve = block % 2 == 1 and block // 2 < c.halvings
            y = activated(f"block_{block}_first", x, mask, c.kernel)
            y = activated(f"block_{block}_second", y, mask, c.kernel, 2 if halve else 1)
            if halve:
                x, mask = _mean_of_pairs(x, mask), halved(mask)
            x = x + y
        return x, mask


class ContentEncoder(nn.Module):
    """What is said: a mean and a log-variance for each frame, without what is constant in the utterance."""

    config: VoiceConfig

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(mean, log-variance), float32 `[batch, frames / 2^halvings, content_size]`, and their true frames."""
        c = self.config
        x, mask = Encoder(c, normalise=True, name="encoder")(x, mask)
        mean, log_variance = (
            Convolution(c.content_size, 1, 1, c.dtype, name=name)(x, mask).astype(jnp.float32)
            for name in ("mean", "log_variance")
        )
        return mean, log_variance, mask


class SpeakerEncoder(nn.Module):
    """Who says it: one code of the utterance, from the mean over its frames."""

    config: VoiceConfig

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """float32 `[batch, speaker_size]`."""
        c = self.config
        x, mask = Encoder(c, normalise=False, name="encoder")(x, mask)
        weights = jnp.float32(mask)[..., None]
        x = (x.astype(jnp.float32) * weights).sum(1) / jnp.maximum(weights.sum(1), 1)
        x = x.astype(c.dtype)
        for block in range(c.dense_blocks):
            y = nn.relu(Dense((c.width,), None, c.dtype, name=f"dense_{block}_first")(x))
            x = x + nn.relu(Dense((c.width,), None, c.dtype, name=f"dense_{block}_second")(y))
        return Dense((c.speaker_size,), None, c.dtype, name="code")(x).astype(jnp.float32)


class Decoder(nn.Module):
    """Content in a voice: instance normalisation whose scale and shift come from the speaker code (AdaIN).

    Attributes:
      config: sizes.
      features: numbers of a decoded frame.
      silent: whether the output is 0 before it is trained.
    """

    config: VoiceConfig
    features: int
    silent: bool = False

    @nn.compact
    def __call__(self, content: jax.Array, speaker: jax.Array, mask: jax.Array) -> jax.Array:
        """float32 `[batch, frames, features]`.

        Args:
          content: `[batch, frames / 2^halvings, content_size]`.
          speaker: `[batch, speaker_size]`.
          mask: bool `[batch, frames]`, the true frames of the utterance to decode.
        """
        c = self.config
        masks = [mask]
        for _ in range(c.halvings):
            masks.append(halved(masks[-1]))

        def voiced(name: str, y: jax.Array, mask: jax.Array) -> jax.Array:
            own = Dense((2, c.width), None, c.dtype, name=name)(speaker)
            scale, shift = 1 + own[:, 0], own[:, 1]
            return nn.relu(instance_norm(y, mask) * scale[:, None] + shift[:, None])

        x = Convolution(c.width, 1, 1, c.dtype, name="expansion")(content, masks[-1])
        x = nn.relu(instance_norm(x, masks[-1]))
        for block in range(c.blocks):
            double = block % 2 == 0 and block // 2 < c.halvings
            mask = masks.pop() if double else masks[-1]
            y = Convolution(c.width, c.kernel, 1, c.dtype, name=f"block_{block}_first")(x, mask)
            y = voiced(f"block_{block}_first_voice", y, mask)
            y = Convolution(
                2 * c.width if double else c.width, c.kernel, 1, c.dtype, name=f"block_{block}_second"
            )(y, mask)
            if double:
                mask = masks[-1]
                x, y = (doubled[:, : mask.shape[1]] for doubled in (jnp.repeat(x, 2, 1), _shuffled(y)))
            x = x + voiced(f"block_{block}_second_voice", y, mask)
        frames = Convolution(self.features, 1, 1, c.dtype, self.silent, name="frames")
        return frames(x, mask).astype(jnp.float32)


class VoiceConverter(nn.Module):
    """Content encoder, speaker encoder and decoder.

    Attributes:
      config: sizes.
      features: numbers of a frame.
    """

    config: VoiceConfig
    features: int

    def setup(self) -> None:
        self.content_encoder = ContentEncoder(self.config)
        self.speaker_encoder = SpeakerEncoder(self.config)
        self.decoder = Decoder(self.config, self.features)

    def content(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """See `ContentEncoder`."""
        return self.content_encoder(x, mask)

    def speaker(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """See `SpeakerEncoder`."""
        return self.speaker_encoder(x, mask)

    def decode(self, content: jax.Array, speaker: jax.Array, mask: jax.Array) -> jax.Array:
        """See `Decoder`."""
        return self.decoder(content, speaker, mask)

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        """Features from their own mean codes."""
        return self.decode(self.content(x, mask)[0], self.speaker(x, mask), mask)


def _mean_of_pairs(x: jax.Array, mask: jax.Array) -> jax.Array:
    """The means of pairs of frames, of the true ones alone; an odd number is followed by half a pair."""
    odd = x.shape[1] % 2
    weights = mask[..., None].astype(x.dtype)
    x, weights = (jnp.pad(a, ((0, 0), (0, odd), (0, 0))) for a in (x * weights, weights))
    total = weights[:, ::2] + weights[:, 1::2]
    return (x[:, ::2] + x[:, 1::2]) / jnp.maximum(total, jnp.ones((), x.dtype))


def _shuffled(x: jax.Array) -> jax.Array:
    """Twice as many frames, each of half of the channels (arXiv:1609.05158)."""
    batch, frames, channels = x.shape
    return x.reshape(batch, 2 * frames, channels // 2)
