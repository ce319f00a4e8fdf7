"""Features of speech: equal to Kaldi's (golden_speech.npz, by make_golden_speech.py), whatever follows an utterance."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.transforms.speech_features import (
    frame_mask,
    frames_of,
    log_mel,
    mfcc,
    normalise_utterance,
    with_deltas,
)

GOLDEN = np.load(pathlib.Path(__file__).parent / "golden_speech.npz")


@pytest.mark.parametrize(("rate", "mels"), [(8_000, 40), (16_000, 80)])
def test_features_are_those_of_kaldi(rate, mels):
    waveform = jnp.asarray(GOLDEN[f"waveform/{rate}"])[None]
    found = jax.jit(lambda x: (log_mel(x, rate, mels)[0], mfcc(x, rate)[0]))(waveform)
    for name, features in zip(("log_mel", "mfcc"), found, strict=True):
        golden = GOLDEN[f"{name}/{rate}"]
        assert features.shape == golden.shape
        np.testing.assert_allclose(features, golden, rtol=1e-4, atol=1e-4)


def test_frames_are_counted_as_they_are_made():
    for samples in (199, 200, 279, 280, 1000):
        assert log_mel(jnp.zeros((1, max(samples, 200))), 8_000, 4).shape[1] == max(
            frames_of(samples, 8_000), 1
        )
    assert frames_of(np.array([0, 199, 200, 280]), 8_000).tolist() == [0, 0, 1, 2]
    assert frame_mask(jnp.array([0, 280]), 3, 8_000).tolist() == [[False] * 3, [True, True, False]]


def test_deltas_are_regressions_over_two_frames_that_stop_at_the_end_of_the_utterance():
    rng = np.random.default_rng(0)
    samples, features = np.array([200 + 80 * 5]), rng.standard_normal((1, 9, 2)).astype(np.float32)
    true = features[0, :6]
    padded = np.concatenate([true[:1]] * 2 + [true] + [true[-1:]] * 2)
    slope = sum(n * (padded[2 + n :][:6] - padded[2 - n :][:6]) for n in (1, 2)) / 10
    found = with_deltas(jnp.asarray(features), 2, jnp.asarray(samples), 8_000)
    np.testing.assert_allclose(found[0, :6, 2:4], slope, atol=1e-6)
    assert found.shape == (1, 9, 6)
    ramp = jnp.arange(30, dtype=jnp.float32)[None, :, None] ** 2
    second = with_deltas(ramp, 2, jnp.array([200 + 80 * 29]), 8_000)[0, 10, 2]
    np.testing.assert_allclose(second, 2, rtol=1e-5)


def test_normalisation_counts_true_frames_alone():
    rng = np.random.default_rng(0)
    features = jnp.asarray(5 + 3 * rng.standard_normal((2, 8, 3)), jnp.float32)
    mask = jnp.arange(8)[None] < jnp.array([[8], [5]])
    found = normalise_utterance(features, mask)
    alone = normalise_utterance(features[1:, :5], mask[1:, :5])
    np.testing.assert_allclose(found[1, :5], alone[0], atol=1e-5)
    assert not found[1, 5:].any()
    np.testing.assert_allclose(alone[0].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(alone[0].std(0), 1, atol=1e-3)
