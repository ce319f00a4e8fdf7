"""Random segments and augmentations of waveforms on the device.

Waveforms are float32 `[samples]` in [-1, 1], of which `count` samples are true and the others 0. All functions are pure
functions of the key of one utterance; `augment` takes a batch.
"""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from ssl_jax.domains import NonNegativeFloat, Settings, numbers

EPSILON = 1e-8


@dataclass(frozen=True)
class WaveformAugmentation(Settings):
    """Random changes of each training waveform; all 0 for none."""

    segment: Annotated[float, numbers(0, 600)] = 0.0
    """Seconds of a random segment, which is all that the network sees of a row; 0 for the whole row."""
    gain: Annotated[float, numbers(0, 60)] = 0.0
    """Largest change of the loudness in decibels, in both directions."""
    noise: Annotated[float, numbers(0, 100)] = 0.0
    """Decibels of the speech above added white noise, at least; 0 for no noise. Up to 20 more are drawn."""
    shift: NonNegativeFloat = 0.0
    """Largest shift in time in seconds, to later; what leaves the row is lost."""


def augment(
    rng: jax.Array, waveform: jax.Array, samples: jax.Array, config: WaveformAugmentation, rate: int
) -> tuple[jax.Array, jax.Array]:
    """Augmented waveforms `[batch, samples]` and their true samples `[batch]`.

    Each utterance has its own key, so that the result does not depend on the number of devices.
    """

    def one(rng: jax.Array, waveform: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
        crop, loud, noisy, late = jax.random.split(rng, 4)
        if config.segment:
            size = min(round(config.segment * rate), waveform.shape[0])
            waveform, count = random_segment(crop, waveform, count, size)
        if config.shift:
            waveform, count = time_shift(late, waveform, count, int(config.shift * rate))
        if config.noise:
            waveform = add_noise(noisy, waveform, count, config.noise)
        if config.gain:
            waveform = change_gain(loud, waveform, config.gain)
        return waveform, count

    return jax.vmap(one)(jax.random.split(rng, waveform.shape[0]), waveform, samples)


def random_segment(
    rng: jax.Array, waveform: jax.Array, count: jax.Array, size: int
) -> tuple[jax.Array, jax.Array]:
    """A segment of `size` samples from a random start, all of it true if the utterance has as many, and its count."""
    start = jax.random.randint(rng, (), 0, jnp.maximum(count - size, 0) + 1, jnp.int32)
    return jax.lax.dynamic_slice_in_dim(waveform, start, size), jnp.minimum(count, size)


def time_shift(
    rng: jax.Array, waveform: jax.Array, count: jax.Array, most: int
) -> tuple[jax.Array, jax.Array]:
    """The utterance up to `most` samples later, with zeros before it, which count as true."""
    shift = jax.random.randint(rng, (), 0, most + 1, jnp.int32)
    size = waveform.shape[0]
    padded = jnp.concatenate([jnp.zeros(most, waveform.dtype), waveform])
    return jax.lax.dynamic_slice_in_dim(padded, most - shift, size), jnp.minimum(count + shift, size)


def add_noise(rng: jax.Array, waveform: jax.Array, count: jax.Array, ratio: float) -> jax.Array:
    """The utterance with white noise `ratio` to `ratio + 20` dB below its power; not beyond its end."""
    white, level = jax.random.split(rng)
    true = jnp.arange(waveform.shape[0], dtype=jnp.int32) < count
    power = jnp.square(waveform).sum() / jnp.float32(jnp.maximum(count, 1))
    decibels = ratio + 20 * jax.random.uniform(level, (), jnp.float32)
    scale = jnp.sqrt(power + EPSILON) * 10 ** (-decibels / 20)
    return waveform + jnp.where(true, scale * jax.random.normal(white, waveform.shape, jnp.float32), 0.0)


def change_gain(rng: jax.Array, waveform: jax.Array, most: float) -> jax.Array:
    """The utterance louder or quieter by up to `most` dB."""
    return waveform * 10 ** (most * (2 * jax.random.uniform(rng, (), jnp.float32) - 1) / 20)
