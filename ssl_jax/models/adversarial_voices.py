"""The networks of adversarial voice conversion (arXiv:1804.02812): an autoencoder with a code for each speaker, and
what plays against it.

Content encoder and decoder are those of `ssl_jax.models.voice_conversion`; the paper's also have recurrent layers.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssl_jax.models.layers import Dense, Table
from ssl_jax.models.voice_conversion import (
    INITIALIZER,
    ContentEncoder,
    Convolution,
    Decoder,
    VoiceConfig,
    halved,
)
from ssl_jax.ops.convolution import convolve
from ssl_jax.placement import along_batch

SLOPE = 0.01
"""Of the leaky rectifiers, as in the authors' settings."""
CRITIC_KERNEL = 5
CRITIC_LAYERS = 3
"""Convolutions of the critic, each of which halves both axes and doubles the channels."""


class SpeakerDecoder(nn.Module):
    """A decoder that is told the speaker by number.

    Attributes:
      config: sizes.
      features: numbers of a frame.
      speakers: number of speakers.
      silent: whether its output is 0 before it is trained.
    """

    config: VoiceConfig
    features: int
    speakers: int
    silent: bool = False

    @nn.compact
    def __call__(self, content: jax.Array, speaker: jax.Array, mask: jax.Array) -> jax.Array:
        """float32 `[batch, frames, features]` of content `[batch, frames / 2^halvings, content_size]`, speakers int
        `[batch]` and the true frames, bool `[batch, frames]`."""
        code = Table(self.speakers, self.config.speaker_size, None, name="speakers")(speaker)
        return Decoder(self.config, self.features, self.silent, name="decoder")(content, code, mask)


class SpeakerClassifier(nn.Module):
    """Finds the speaker in the content code: residual convolutions, and the mean over true frames."""

    config: VoiceConfig
    speakers: int

    @nn.compact
    def __call__(self, content: jax.Array, mask: jax.Array) -> jax.Array:
        """Logits, float32 `[batch, speakers]`."""
        c = self.config
        x = content
        for layer in range(c.blocks):
            y = nn.leaky_relu(
                Convolution(c.width, c.kernel, 1, c.dtype, name=f"layer_{layer}")(x, mask), SLOPE
            )
            x = x + y if layer else y
        return Dense((self.speakers,), None, c.dtype, name="logits")(_mean(x, mask)).astype(jnp.float32)


class PatchCritic(nn.Module):
    """Scores the patches of a spectrum, how real they look, and finds the speaker.

    There is no normalisation over frames: the penalty of WGAN-GP holds for each example.
    """

    config: VoiceConfig
    speakers: int

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(mean score of the patches `[batch]`, logits `[batch, speakers]`), float32.

        Args:
          x: `[batch, frames, features]`.
          mask: bool `[batch, frames]`, the true frames.
        """
        c = self.config
        x = x.astype(c.dtype)[..., None]
        for layer in range(CRITIC_LAYERS):
            x = x * mask[:, :, None, None].astype(x.dtype)
            shape = (
                CRITIC_KERNEL,
                CRITIC_KERNEL,
                x.shape[-1],
                max(1, c.width // 2 ** (CRITIC_LAYERS - 1 - layer)),
            )
            kernel = self.param(f"kernel_{layer}", INITIALIZER, shape, jnp.float32)
            bias = self.param(f"bias_{layer}", nn.initializers.zeros, shape[-1:], jnp.float32)
            x = along_batch(convolve(x, kernel, 2)) + bias.astype(x.dtype)[None, None, None]
            x, mask = nn.leaky_relu(x, SLOPE), halved(mask)
        x = x.reshape(*x.shape[:2], -1)
        scores = Dense((1,), None, c.dtype, name="score")(x)
        logits = Dense((self.speakers,), None, c.dtype, name="logits")(_mean(x, mask))
        return _mean(scores, mask)[:, 0].astype(jnp.float32), logits.astype(jnp.float32)


class AdversarialVoices(nn.Module):
    """All networks, as methods of one module."""

    config: VoiceConfig
    features: int
    speakers: int

    def setup(self) -> None:
        self.encoder = ContentEncoder(self.config)
        self.decoder = SpeakerDecoder(self.config, self.features, self.speakers)
        self.generator = SpeakerDecoder(self.config, self.features, self.speakers, silent=True)
        self.classifier = SpeakerClassifier(self.config, self.speakers)
        self.critic = PatchCritic(self.config, self.speakers)

    def content(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(the content code, its true frames)."""
        mean, _, true = self.encoder(x, mask)
        return mean, true

    def decode(self, content: jax.Array, speaker: jax.Array, mask: jax.Array) -> jax.Array:
        """See `SpeakerDecoder`."""
        return self.decoder(content, speaker, mask)

    def residual(self, content: jax.Array, speaker: jax.Array, mask: jax.Array) -> jax.Array:
        """What is added to the decoded features, by a decoder of its own."""
        return self.generator(content, speaker, mask)

    def classify(self, content: jax.Array, mask: jax.Array) -> jax.Array:
        """See `SpeakerClassifier`."""
        return self.classifier(content, mask)

    def judge(self, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        """See `PatchCritic`."""
        return self.critic(x, mask)

    def __call__(self, x: jax.Array, mask: jax.Array, speaker: jax.Array) -> jax.Array:
        """Initialises all networks; the features in the voice of the speaker."""
        content, true = self.content(x, mask)
        self.classify(content, true)
        self.judge(x, mask)
        return self.decode(content, speaker, mask) + self.residual(content, speaker, mask)


def _mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Over true frames: `[batch, frames, width]` to `[batch, width]`."""
    weights = mask[..., None].astype(x.dtype)
    return (x * weights).sum(1) / jnp.maximum(weights.sum(1), jnp.ones((), x.dtype))
