"""Features of speech on the device: log-mel spectra and cepstra as Kaldi computes them, differences, normalisation.

The definition is that of Kaldi's `compute-fbank-feats` and `compute-mfcc-feats` with their defaults but without dither:
frames of 25 ms every 10 ms that lie wholly in the waveform, each without its mean, pre-emphasis 0.97, Povey window,
power spectrum of the next power of two, triangular filters on the mel scale between 20 Hz and half the rate. Kaldi
takes 16-bit integers for samples; waveforms here are in [-1, 1] and are multiplied by 32,768 first.

All functions are pure, of float32 arrays. Frames beyond the end of an utterance are computed from zeros; `frame_mask`
says which frames are true.
"""

import functools
import math
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.domains import Settings, integers
from ssl_jax.errors import UserError
from ssl_jax.ops.pieces import by_pieces
from ssl_jax.transforms.framing import overlapping_frames

WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.010
PRE_EMPHASIS = 0.97
LOWEST_HZ = 20.0
FULL_SCALE = 32768.0
FLOOR = float(np.finfo(np.float32).eps)
"""Of the energies, before their logarithm."""
LIFTER = 22.0
PIECE = 4 * 2**20
"""Bytes of spectra that are computed at a time on one CPU. Those of 16 utterances of 10 seconds take four times as long
at once, since they come from memory."""
EPSILON = 1e-5
"""Added to a variance, for a feature that does not vary."""


@dataclass(frozen=True)
class FeatureConfig(Settings):
    """Features of a frame."""

    kind: Literal["log_mel", "mfcc"] = "log_mel"
    """Logarithms of the energies in mel filters, or their cepstrum."""
    mels: Annotated[int, integers(4, 512)] = 40
    """Filters on the mel scale."""
    cepstra: Annotated[int, integers(1, 512)] = 13
    """Coefficients of an MFCC, the first one included; not more than `mels`."""
    deltas: Annotated[int, integers(0, 2)] = 0
    """Differences over time beside the features: of the first order, or of the first and the second."""
    normalise: Literal["global", "utterance", "none"] = "global"
    """Subtract the mean and divide by the standard deviation: of each feature over the training utterances, or over
    the frames of each utterance (which takes away what is constant in an utterance, such as most of the speaker)."""

    @property
    def width(self) -> int:
        """Numbers in a frame."""
        return (self.mels if self.kind == "log_mel" else self.cepstra) * (1 + self.deltas)

    def check_relations(self) -> None:
        if self.kind == "mfcc" and self.cepstra > self.mels:
            raise UserError(f"cepstra {self.cepstra}: expected at most mels, {self.mels}.")


def window_samples(rate: int) -> int:
    """Samples of a frame."""
    return int(rate * WINDOW_SECONDS)


def hop_samples(rate: int) -> int:
    """Samples between the beginnings of two frames."""
    return int(rate * HOP_SECONDS)


def fft_samples(rate: int) -> int:
    """Samples of a frame with the zeros that follow it: the next power of two."""
    return 2 ** math.ceil(math.log2(window_samples(rate)))


def frames_of(samples: int | jax.Array | np.ndarray, rate: int) -> int | jax.Array | np.ndarray:
    """Frames that lie wholly in so many samples; an integer, or an array of them.

    Example:
      >>> frames_of(8000, 8000), frames_of(199, 8000), frames_of(200, 8000)
      (98, 0, 1)
    """
    count = (samples - window_samples(rate)) // hop_samples(rate) + 1
    return max(count, 0) if isinstance(count, int) else count.clip(0)


def frame_mask(samples: jax.Array, frames: int, rate: int) -> jax.Array:
    """Which frames of each utterance are true, bool `[batch, frames]`.

    Args:
      samples: int `[batch]`, true samples of each utterance.
      frames: of the padded waveform.
      rate: samples per second.
    """
    return jnp.arange(frames, dtype=jnp.int32)[None] < frames_of(samples, rate)[:, None]


def log_mel(waveform: jax.Array, rate: int, mels: int) -> jax.Array:
    """Logarithms of the energies in mel filters.

    Args:
      waveform: float32 `[batch, samples]` in [-1, 1].
      rate: samples per second.
      mels: number of filters.

    Returns:
      float32 `[batch, frames, mels]`.
    """
    spectra = 4 * fft_samples(rate) * frames_of(waveform.shape[1], rate)
    return by_pieces(lambda x: _log_mel(x, rate, mels), waveform, spectra, PIECE)


def mfcc(waveform: jax.Array, rate: int, cepstra: int = 13, mels: int = 23) -> jax.Array:
    """Mel-frequency cepstral coefficients, float32 `[batch, frames, cepstra]`; the first one is the log energy.

    Args: see `log_mel`; cepstra is at most mels.
    """
    frames = _frames(waveform, rate)
    energy = jnp.log(jnp.maximum(jnp.square(frames).sum(-1), FLOOR))
    coefficients = jnp.einsum(
        "bfm,mc->bfc",
        log_mel(waveform, rate, mels),
        jnp.asarray(_cosines(cepstra, mels)),
        precision="highest",
    )
    return coefficients.at[..., 0].set(energy)


def with_deltas(features: jax.Array, order: int, samples: jax.Array, rate: int) -> jax.Array:
    """Features with their differences over time appended, as Kaldi's `add-deltas` of a window of 2.

    At the ends of an utterance, the first and the last true frame are repeated.

    Args:
      features: `[batch, frames, width]`.
      order: 1 or 2 more times the width; 0 for no change.
      samples: int `[batch]`, true samples of each utterance.
      rate: samples per second.
    """
    frames = features.shape[1]
    last = jnp.maximum(frames_of(samples, rate) - 1, 0)
    parts, scales = [features], np.ones(1)
    for _ in range(order):
        scales = np.convolve(scales, np.array([2, 1, 0, -1, -2]) / 10.0)
        reach, total = len(scales) // 2, 0.0
        for shift, scale in zip(range(reach, -reach - 1, -1), scales, strict=True):
            place = jnp.clip(jnp.arange(frames, dtype=jnp.int32)[None] + shift, 0, last[:, None])
            total = total + jnp.float32(scale) * jnp.take_along_axis(features, place[..., None], 1)
        parts.append(total)
    return jnp.concatenate(parts, -1)


def normalise_utterance(features: jax.Array, mask: jax.Array) -> jax.Array:
    """Each feature with mean 0 and variance 1 over the true frames of its utterance; other frames become 0.

    Args:
      features: `[batch, frames, width]`.
      mask: bool `[batch, frames]`, the true frames.
    """
    weights = jnp.float32(mask)[..., None]
    count = jnp.maximum(weights.sum(1, keepdims=True), 1)
    mean = (features * weights).sum(1, keepdims=True) / count
    variance = (jnp.square(features - mean) * weights).sum(1, keepdims=True) / count
    return (features - mean) * jax.lax.rsqrt(variance + EPSILON) * weights


def normalise_globally(features: jax.Array, mask: jax.Array, mean: jax.Array, scale: jax.Array) -> jax.Array:
    """Each feature less its mean, divided by its scale; frames that are not true become 0.

    Args:
      features: `[batch, frames, width]`.
      mask: bool `[batch, frames]`, the true frames.
      mean, scale: `[width]`, of the training data.
    """
    return (features - mean) / scale * jnp.float32(mask)[..., None]


def raw_features(config: FeatureConfig, waveform: jax.Array, samples: jax.Array, rate: int) -> jax.Array:
    """The features of a configuration before their normalisation, float32 `[batch, frames, config.width]`.

    Args:
      config: of the features.
      waveform: float32 `[batch, samples]` in [-1, 1].
      samples: int `[batch]`, true samples of each utterance.
      rate: samples per second.
    """
    if config.kind == "log_mel":
        found = log_mel(waveform, rate, config.mels)
    else:
        found = mfcc(waveform, rate, config.cepstra, config.mels)
    return with_deltas(found, config.deltas, samples, rate)


def _frames(waveform: jax.Array, rate: int) -> jax.Array:
    """`[batch, frames, window]`, each without its mean, scaled to 16 bits."""
    frames = overlapping_frames(waveform, window_samples(rate), hop_samples(rate)) * jnp.float32(FULL_SCALE)
    return frames - frames.mean(-1, keepdims=True)


def _log_mel(waveform: jax.Array, rate: int, mels: int) -> jax.Array:
    frames = _frames(waveform, rate)
    before = jnp.concatenate([frames[..., :1], frames[..., :-1]], -1)
    window = jnp.asarray(povey_window(window_samples(rate)))[None, None]
    size = fft_samples(rate)
    spectrum = jnp.fft.rfft((frames - PRE_EMPHASIS * before) * window, n=size)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    filters = jnp.asarray(mel_filters(rate, size, mels))
    energies = jnp.einsum("bfk,km->bfm", power, filters, precision="highest")
    return jnp.log(jnp.maximum(energies, FLOOR))


@functools.cache
def povey_window(window: int) -> np.ndarray:
    """Kaldi's window, float32 `[window]`: a Hann window to the power of 0.85."""
    return ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / (window - 1))) ** 0.85).astype(np.float32)


@functools.cache
def mel_filters(rate: int, size: int, mels: int) -> np.ndarray:
    """Triangles `[size / 2 + 1, mels]`, equal on the mel scale; Kaldi leaves out the bin of half the rate."""

    def scale(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(scale(LOWEST_HZ), scale(rate / 2), mels + 2)
    bins = scale(np.arange(size // 2 + 1) * rate / size)[:, None]
    left, centre, right = edges[None, :-2], edges[None, 1:-1], edges[None, 2:]
    triangle = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    triangle[-1] = 0
    return np.maximum(triangle, 0).astype(np.float32)


@functools.cache
def _cosines(cepstra: int, mels: int) -> np.ndarray:
    """The orthonormal cosine transform `[mels, cepstra]`, with the lifter."""
    order = np.arange(cepstra)[None]
    table = np.sqrt(2 / mels) * np.cos(np.pi / mels * (np.arange(mels)[:, None] + 0.5) * order)
    table[:, 0] = np.sqrt(1 / mels)
    return (table * (1 + 0.5 * LIFTER * np.sin(np.pi * order / LIFTER))).astype(np.float32)
