"""Waveforms of magnitudes: beside SciPy's transforms and a plain Griffin-Lim in NumPy, and whatever follows a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from ssl_jax.data.synthetic_speech import render
from ssl_jax.transforms.griffin_lim import (
    Stft,
    feature_stft,
    griffin_lim,
    istft,
    magnitudes_of_log_mel,
    stft,
    waveform_of_log_mel,
)
from ssl_jax.transforms.speech_features import frames_of, log_mel

# SciPy warns that the first and the last sample, where Kaldi's window is 0, are lost.
pytestmark = pytest.mark.filterwarnings("ignore:NOLA condition failed")
RATE = 8_000
TRANSFORM = feature_stft(RATE)
SETTINGS = {
    "fs": 1.0,
    "window": TRANSFORM.window.astype(float),
    "nperseg": len(TRANSFORM.window),
    "noverlap": len(TRANSFORM.window) - TRANSFORM.hop,
    "nfft": TRANSFORM.size,
}
SCALE = float(TRANSFORM.window.sum())
"""SciPy divides spectra by it."""
INSIDE = slice(len(TRANSFORM.window), -len(TRANSFORM.window))


def scipy_stft(waveform):
    found = scipy.signal.stft(waveform, **SETTINGS, boundary=None, padded=False)[2]
    return found.T * SCALE


def scipy_istft(spectrum):
    return scipy.signal.istft(spectrum.T / SCALE, **SETTINGS, boundary=False)[1]


@pytest.fixture(scope="module")
def words():
    """Two words `[2, samples]`, and the frames of each."""
    found = [each.waveform for each in render(("f03", "m01"), ("five", "moon"), (0, 0), RATE)]
    frames = np.array([frames_of(len(each), RATE) for each in found])
    rows = np.zeros((2, TRANSFORM.samples(frames.max())), np.float32)
    for row, waveform in zip(rows, found, strict=True):
        size = min(len(waveform), len(row))
        row[:size] = waveform[:size]
    return rows, frames


def convergence(waveform, magnitudes):
    """Norm of the error of the magnitudes, as a share of their own."""
    return np.linalg.norm(np.abs(scipy_stft(waveform)) - magnitudes) / np.linalg.norm(magnitudes)


def test_transforms_are_those_of_scipy():
    draws = np.random.default_rng(0)
    waveform = draws.standard_normal(TRANSFORM.samples(9)).astype(np.float32)
    np.testing.assert_allclose(
        stft(jnp.asarray(waveform)[None], TRANSFORM)[0], scipy_stft(waveform), atol=1e-4
    )
    spectrum = draws.standard_normal((9, 129, 2)).view(np.complex128)[..., 0].astype(np.complex64)
    found = istft(jnp.asarray(spectrum)[None], jnp.array([9]), TRANSFORM)[0]
    np.testing.assert_allclose(found[INSIDE], scipy_istft(spectrum)[INSIDE], atol=1e-5)


def test_a_hop_that_divides_the_window_and_samples_after_the_last_frame():
    transform = Stft(np.hanning(65)[:-1].astype(np.float32), 16, 64)
    waveform = jax.random.normal(jax.random.key(0), (1, 305), jnp.float32)
    spectrum = stft(waveform, transform)
    assert spectrum.shape == (1, 16, 33)
    np.testing.assert_allclose(
        istft(spectrum, jnp.array([16]), transform)[0, 64:240], waveform[0, 64:240], atol=1e-5
    )


def test_a_word_converges_and_momentum_beats_the_plain_algorithm_in_numpy(words):
    rows, frames = words
    word = rows[0, : TRANSFORM.samples(frames[0])]
    magnitudes = np.abs(scipy_stft(word))
    phases = np.exp(2j * np.pi * np.random.default_rng(0).random(magnitudes.shape))
    plain = []
    for _ in range(40):
        waveform = scipy_istft(magnitudes * phases)
        plain.append(convergence(waveform, magnitudes))
        phases = np.exp(1j * np.angle(scipy_stft(waveform)))
    arguments = jnp.asarray(magnitudes, jnp.float32)[None], jnp.array([len(magnitudes)]), TRANSFORM

    @jax.jit
    def ours(rounds, momentum):
        return griffin_lim(jax.random.key(0), *arguments, rounds=rounds, momentum=momentum)[0]

    # Without momentum the algorithm is that of the loop above; phases differ, the errors hardly.
    assert convergence(ours(39, 0.0), magnitudes) == pytest.approx(plain[-1], rel=0.2)
    fast = [convergence(ours(rounds, 0.99), magnitudes) for rounds in (0, 10, 40)]
    assert fast[0] > 2 * fast[1] > 3 * fast[2]
    assert fast[2] < min(0.08, 0.8 * plain[-1])


def test_log_mel_features_become_a_waveform_that_has_them_whatever_follows_an_utterance(words):
    rows, frames = words
    features = log_mel(jnp.asarray(rows), RATE, 40)
    invert = jax.jit(lambda x, count: waveform_of_log_mel(jax.random.key(1), x, count, RATE, rounds=30))
    noise = jax.random.normal(jax.random.key(2), features.shape, jnp.float32)
    true = jnp.arange(features.shape[1])[None, :, None] < frames[:, None, None]
    found = invert(jnp.where(true, features, noise), jnp.asarray(frames))
    again = log_mel(found, RATE, 40)
    for row, count in enumerate(frames):
        assert np.abs(again - features)[row, 2 : count - 2].mean() < 0.15
        assert not found[row, TRANSFORM.samples(count) :].any()
    shorter = int(frames.argmin())
    assert frames[shorter] < frames.max()
    alone = invert(features[:, : frames[shorter]], jnp.asarray(frames).clip(max=frames[shorter]))
    np.testing.assert_allclose(found[shorter, : alone.shape[1]], alone[shorter], atol=2e-4)


def test_magnitudes_have_the_energies_and_are_at_the_scale_of_the_waveform(words):
    rows, frames = words
    magnitudes = magnitudes_of_log_mel(log_mel(jnp.asarray(rows), RATE, 80), RATE)
    for row, count in enumerate(frames):
        original = np.abs(scipy_stft(rows[row]))[:count]
        error = np.linalg.norm(magnitudes[row, :count] - original) / np.linalg.norm(original)
        assert error < 0.3
    assert bool((magnitudes >= 0).all())
