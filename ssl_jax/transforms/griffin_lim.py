"""The waveform of a magnitude spectrogram: Griffin-Lim with momentum (Griffin & Lim 1984; Perraudin et al. 2013).

A magnitude spectrogram has no phases. From random ones, each round computes the waveform that fits the spectrogram best
and takes the phases of that waveform (Griffin & Lim, doi:10.1109/TASSP.1984.1164317); with momentum, each round goes
beyond them in the direction of the last change (Perraudin, Balazs & Soendergaard, doi:10.1109/WASPAA.2013.6701851).

`waveform_of_log_mel` begins with the features of `ssl_jax.transforms.speech_features`. Its result is an approximation:
mel filters leave out detail of the spectrum, and frequencies below 20 Hz; Kaldi's pre-emphasis is undone as if it were
applied to the whole waveform, while it begins anew in each frame; and the mean of each frame is lost. The phases are
those of no recording, so compare a reconstruction with an original that has been through the same functions.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.transforms.framing import overlapping_frames
from ssl_jax.transforms.speech_features import (
    FULL_SCALE,
    PRE_EMPHASIS,
    fft_samples,
    hop_samples,
    mel_filters,
    povey_window,
    window_samples,
)

ROUNDS = 60
MOMENTUM = 0.99
FIT_ROUNDS = 30
"""Rounds that fit a spectrum to the energies in mel filters."""
EDGE = 0.1
"""Share of the usual sum of squared windows at a sample. Samples at the edges of an utterance have less than this; they
are divided by this share, so that they are faded and not amplified."""
TINY = 1e-12


class Stft(NamedTuple):
    """A short-time Fourier transform, whose first frame begins at the first sample.

    Attributes:
      window: float32 `[samples of a frame]`.
      hop: samples between the beginnings of two frames, at most those of a frame.
      size: samples of a frame with the zeros that follow it.
    """

    window: np.ndarray
    hop: int
    size: int

    def samples(self, frames: int) -> int:
        """Of the waveform of so many frames."""
        return (frames - 1) * self.hop + len(self.window)


def feature_stft(rate: int) -> Stft:
    """The transform that log-mel features are computed from.

    Args:
      rate: samples per second.
    """
    return Stft(povey_window(window_samples(rate)), hop_samples(rate), fft_samples(rate))


def stft(waveform: jax.Array, transform: Stft) -> jax.Array:
    """The spectrum of each frame that lies wholly in the waveform.

    Args:
      waveform: float32 `[batch, samples]`, at least one frame long.
      transform: window and hop.

    Returns:
      complex64 `[batch, frames, size / 2 + 1]`.
    """
    window, hop, size = transform
    framed = overlapping_frames(waveform, len(window), hop)
    return jnp.fft.rfft(framed * jnp.asarray(window)[None, None], n=size)


def istft(spectrum: jax.Array, frames: jax.Array, transform: Stft) -> jax.Array:
    """The waveform whose spectra are nearest to the given ones, by the squared error.

    Args:
      spectrum: complex64 `[batch, frames, size / 2 + 1]`.
      frames: int `[batch]`, the true frames of each utterance; others are left out.
      transform: window and hop.

    Returns:
      float32 `[batch, transform.samples(frames)]`, 0 after the last true frame.
    """
    window, _, size = transform
    true = _true(spectrum, frames)
    waves = jnp.fft.irfft(spectrum, n=size)[..., : len(window)] * jnp.asarray(window)[None, None]
    return _overlapped(waves * true, transform) / _divisor(true, transform)


def griffin_lim(
    rng: jax.Array,
    magnitudes: jax.Array,
    frames: jax.Array,
    transform: Stft,
    *,
    rounds: int = ROUNDS,
    momentum: float = MOMENTUM,
) -> jax.Array:
    """A waveform whose spectra have these magnitudes, about.

    What follows an utterance in its row changes nothing of it.

    Args:
      rng: a key, of the first phases.
      magnitudes: float32 `[batch, frames, size / 2 + 1]`.
      frames: int `[batch]`, the true frames of each utterance.
      transform: window and hop.
      rounds: of the algorithm.
      momentum: share of the last change that is added to each round; 0 is the algorithm of Griffin and Lim.

    Returns:
      float32 `[batch, transform.samples(frames)]`, 0 after the last true frame.
    """
    batch, length, bins = magnitudes.shape
    back = momentum / (1 + momentum)  # the sum of this step and the last change, but for a factor

    def improve(_: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        phases, before = state
        found = stft(istft(magnitudes * phases, frames, transform), transform)
        ahead = found - back * before
        return ahead / jnp.maximum(jnp.abs(ahead), TINY), found

    # Each frame of each utterance has its own key, so that padding does not change them.
    keys = jax.vmap(lambda row: jax.vmap(lambda frame: jax.random.fold_in(row, frame))(_numbers(length)))(
        jax.vmap(lambda row: jax.random.fold_in(rng, row))(_numbers(batch))
    )
    angles = jax.vmap(jax.vmap(lambda key: jax.random.uniform(key, (bins,), jnp.float32)))(keys) * (
        2 * jnp.pi
    )
    first = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
    phases, _ = jax.lax.fori_loop(0, rounds, improve, (first, jnp.zeros_like(first)))
    return istft(magnitudes * phases, frames, transform)


def magnitudes_of_log_mel(log_mel: jax.Array, rate: int) -> jax.Array:
    """The magnitudes of a waveform in [-1, 1] that has these log-mel features, about.

    The energies in the filters do not determine the spectrum. This one is not negative and smooth at first, and is
    multiplied until its energies fit (Richardson 1972, doi:10.1364/JOSA.62.000055). The pre-emphasis is undone.

    Args:
      log_mel: float32 `[batch, frames, mels]`, as `ssl_jax.transforms.speech_features.log_mel` computes it.
      rate: samples per second.

    Returns:
      float32 `[batch, frames, bins]`, for `griffin_lim` with `feature_stft(rate)`; 0 where no filter is.
    """
    size = fft_samples(rate)
    filters = mel_filters(rate, size, log_mel.shape[-1])
    share = jnp.asarray(filters / np.maximum(filters.sum(1, keepdims=True), TINY))
    wanted = jnp.exp(log_mel.astype(jnp.float32))

    def spread(of_filters: jax.Array) -> jax.Array:
        """At each bin, the mean over its filters."""
        return jnp.einsum("bfm,km->bfk", of_filters, share, precision="highest")

    def fit(_: int, power: jax.Array) -> jax.Array:
        found = jnp.einsum("bfk,km->bfm", power, jnp.asarray(filters), precision="highest")
        return power * spread(wanted / jnp.maximum(found, TINY))

    power = jax.lax.fori_loop(0, FIT_ROUNDS, fit, spread(wanted / jnp.asarray(filters.sum(0))[None, None]))
    turns = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    emphasis = jnp.asarray((FULL_SCALE * np.abs(1 - PRE_EMPHASIS * turns)).astype(np.float32))
    return jnp.sqrt(power) / emphasis[None, None]


def waveform_of_log_mel(
    rng: jax.Array, log_mel: jax.Array, frames: jax.Array, rate: int, *, rounds: int = ROUNDS
) -> jax.Array:
    """A waveform that has these log-mel features, about; see the module.

    Args:
      rng: a key.
      log_mel: float32 `[batch, frames, mels]`, not normalised.
      frames: int `[batch]`, the true frames of each utterance.
      rate: samples per second.
      rounds: of `griffin_lim`.

    Returns:
      float32 `[batch, samples]`, 0 after the last true frame; not limited to [-1, 1].
    """
    return griffin_lim(rng, magnitudes_of_log_mel(log_mel, rate), frames, feature_stft(rate), rounds=rounds)


def _numbers(count: int) -> jax.Array:
    return jnp.arange(count, dtype=jnp.int32)


def _true(spectrum: jax.Array, frames: jax.Array) -> jax.Array:
    """1 for the true frames, float32 `[batch, frames, 1]`."""
    return jnp.float32(_numbers(spectrum.shape[1])[None] < frames[:, None])[..., None]


def _overlapped(framed: jax.Array, transform: Stft) -> jax.Array:
    """The sum of overlapping frames `[batch, frames, window]`, `[batch, samples]`."""
    window, hop, _ = transform
    batch, frames, _ = framed.shape
    parts = -(-len(window) // hop)
    hops = jnp.pad(framed, ((0, 0), (0, 0), (0, parts * hop - len(window))))
    hops = hops.reshape(batch, frames, parts, hop)
    total = sum(
        jnp.pad(hops[:, :, part], ((0, 0), (part, parts - 1 - part), (0, 0))) for part in range(parts)
    )
    return total.reshape(batch, -1)[:, : transform.samples(frames)]


def _divisor(true: jax.Array, transform: Stft) -> jax.Array:
    """The sum of the squared windows at each sample, not less than a share of what is usual; `[batch, samples]`."""
    squares = np.square(transform.window)
    least = EDGE * float(squares.sum()) / transform.hop
    return jnp.maximum(_overlapped(true * jnp.asarray(squares)[None, None], transform), least)
