"""Distances of converted speech from a target: cepstra, dynamic time warping, and the shift of mean and variance."""

import functools

import numpy as np
import pytest

from ssl_jax.evals.voices import (
    distortion,
    frame_distortion,
    mel_cepstra,
    nearest_recording,
    shifted,
    speaker_statistics,
    warp,
)


def spectrum(cepstra, mels):
    """Logarithms of energies whose mel-cepstrum, after the loudness, is this one."""
    order = np.arange(1, cepstra.shape[1] + 1)[:, None]
    return 2 * cepstra @ np.cos(order * np.pi / mels * (np.arange(mels)[None] + 0.5))


def test_the_cepstral_distortion_is_the_difference_of_smooth_spectra_in_decibels():
    rng = np.random.default_rng(0)
    cepstra, others = rng.standard_normal((2, 5, 13))
    one, other = spectrum(cepstra, 40) + 3, spectrum(others, 40) - 1  # the loudness does not count
    np.testing.assert_allclose(mel_cepstra(one), cepstra, atol=1e-12)
    decibels = 10 / np.log(10) * (one - 3 - (other + 1))
    expected = np.sqrt(np.square(decibels).mean(-1))
    np.testing.assert_allclose(frame_distortion(mel_cepstra(one), mel_cepstra(other)), expected)


def least_total(distances):
    """Of all paths, by the definition."""

    @functools.cache
    def to(i, j):
        if i < 0 or j < 0:
            return np.inf
        before = 0 if i == j == 0 else min(to(i - 1, j - 1), to(i - 1, j), to(i, j - 1))
        return distances[i, j] + before

    return to(distances.shape[0] - 1, distances.shape[1] - 1)


def test_a_path_by_hand():
    distances = np.array([[0.0, 9, 9], [0, 9, 9], [9, 1, 9], [9, 9, 2]])
    assert warp(distances).tolist() == [[0, 0], [1, 0], [2, 1], [3, 2]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 1), (6, 9), (12, 5)])
def test_the_path_is_allowed_and_no_other_is_shorter(shape):
    distances = np.random.default_rng(shape).random(shape)
    path = warp(distances)
    assert path[0].tolist() == [0, 0]
    assert path[-1].tolist() == [shape[0] - 1, shape[1] - 1]
    steps = np.diff(path, axis=0)
    assert ((steps == 0) | (steps == 1)).all()
    assert steps.any(1).all()
    np.testing.assert_allclose(distances[tuple(path.T)].sum(), least_total(distances))


def test_a_slower_utterance_is_not_distorted_and_aligned_frames_are_not_moved():
    log_mel = np.random.default_rng(0).standard_normal((9, 20))
    slower = np.repeat(log_mel, [1, 2, 3, 1, 1, 2, 1, 1, 2], 0)
    assert distortion(log_mel, slower, aligned=False) == pytest.approx((0, 0), abs=1e-12)
    moved = np.roll(log_mel, 1, 0)
    found = distortion(log_mel, moved, aligned=True)
    assert found.log_mel == pytest.approx(np.abs(log_mel - moved).mean())
    assert found.cepstral > distortion(log_mel, moved, aligned=False).cepstral


def test_the_nearest_recording_is_that_of_the_least_path_per_frame():
    rng = np.random.default_rng(0)
    spoken = rng.standard_normal((12, 20))
    recordings = [rng.standard_normal((frames, 20)) for frames in (15, 12, 4, 9)]

    def distance(other):
        pairs = frame_distortion(mel_cepstra(spoken)[:, None], mel_cepstra(other)[None])
        return least_total(pairs) / (len(spoken) + len(other))

    assert nearest_recording(spoken, recordings) == np.argmin([distance(each) for each in recordings])
    slower = np.repeat(spoken, [1, 2, 3, 1, 1, 2, 1, 1, 2, 1, 1, 1], 0)
    noisy = slower + 0.3 * rng.standard_normal(slower.shape)
    assert nearest_recording(spoken, [*recordings, noisy]) == 4


def test_a_shifted_speaker_has_the_moments_of_the_other():
    rng = np.random.default_rng(0)
    one, other = ([2 * rng.standard_normal((n, 3)) + shift for n in (4, 6)] for shift in (1, 5))
    source, target = speaker_statistics(one), speaker_statistics(other)
    found = speaker_statistics([shifted(each, source, target) for each in one])
    np.testing.assert_allclose(found.mean, target.mean, rtol=1e-4)
    np.testing.assert_allclose(found.deviation, target.deviation, rtol=1e-4)
