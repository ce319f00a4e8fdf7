"""Masks of frames: starts, lengths and shares of runs, what becomes of masked frames, stripes; changed waveforms."""

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.transforms.frame_masks import corrupt_masked, run_mask, stripes
from ssl_jax.transforms.waveforms import WaveformAugmentation, augment

DRAWS = 2_000


def test_runs_are_as_long_as_they_should_be_and_reach_the_last_true_frame():
    keys = jax.random.split(jax.random.key(0), DRAWS)
    masks = np.asarray(jax.vmap(lambda k: run_mask(k, jnp.int32(50), 60, share=0.15, run=7))(keys))
    assert not masks[:, 50:].any()
    assert masks[:, 0].any()
    assert masks[:, 49].any()
    # One run: round(0.15 * 50 / 7) = 1. Each of the 44 starts is as likely as the others.
    assert (masks.sum(1) == 7).all()
    starts = np.bincount(masks.argmax(1), minlength=44)
    assert len(starts) == 44
    assert np.square(starts - DRAWS / 44).sum() / (DRAWS / 44) < 80  # chi-square of 43 degrees, p 0.0005


def test_the_number_of_runs_follows_the_share_and_short_utterances_have_none():
    keys = jax.random.split(jax.random.key(1), 200)
    many = np.asarray(jax.vmap(lambda k: run_mask(k, jnp.int32(200), 200, share=0.3, run=5))(keys))
    assert many.sum(1).max() == 60  # 12 runs that do not overlap
    assert 45 < many.sum(1).mean() < 60
    assert not run_mask(keys[0], jnp.int32(6), 20, share=0.15, run=7).any()


def test_eighty_ten_ten():
    frames, mask = jnp.arange(1, 41, dtype=jnp.float32)[:, None], jnp.arange(40) >= 33
    keys = jax.random.split(jax.random.key(2), DRAWS)
    shown = np.asarray(jax.vmap(lambda k: corrupt_masked(k, frames, mask, jnp.int32(36)))(keys))[..., 0]
    assert (shown[:, :33] == np.arange(1, 34)).all()
    hidden, kept = (shown[:, 33:] == 0).all(1), (shown[:, 33:] == np.arange(34, 41)).all(1)
    replaced = ~hidden & ~kept
    np.testing.assert_allclose([x.mean() for x in (hidden, replaced, kept)], [0.8, 0.1, 0.1], atol=0.03)
    assert shown[replaced][:, 33:].min() >= 1
    assert shown[replaced][:, 33:].max() == 36  # of true frames alone


def test_stripes_are_within_the_extent():
    keys = jax.random.split(jax.random.key(3), DRAWS)
    masks = np.asarray(jax.vmap(lambda k: stripes(k, 20, jnp.int32(12), count=1, widest=4))(keys))
    assert set(masks.sum(1)) == {0, 1, 2, 3, 4}
    assert masks[:, 11].any()
    assert not masks[:, 12:].any()


def test_augmented_waveforms_keep_their_true_samples():
    config = WaveformAugmentation(segment=0.01, gain=6, noise=20, shift=0.002)
    waveform = jnp.pad(jnp.ones((2, 60)), ((0, 0), (0, 60)))
    found, samples = augment(jax.random.key(0), waveform, jnp.array([60, 60]), config, 8_000)
    assert found.shape == (2, 80)
    for row, count in zip(np.asarray(found), samples, strict=True):
        assert 60 <= count <= 76
        assert not row[count:].any()
        assert np.median(row[count - 60 : count]) > 0.4
    same, whole = augment(jax.random.key(0), waveform, jnp.array([60, 60]), WaveformAugmentation(), 8_000)
    assert (same == waveform).all()
    assert whole.tolist() == [60, 60]
