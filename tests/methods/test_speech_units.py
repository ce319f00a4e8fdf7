"""Units of speech: which frames count, which speakers the decoder knows, and that padding changes nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.quantization import ema_quantizer
from ssl_jax.methods.speech_units import jitter, unit_discovery
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.models.unit_autoencoder import UnitNetworkConfig
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation

RATE = 8_000
FRAMES = (18, 13)
"""Of the two utterances; the stride of 4 divides neither."""


def made(speakers=3, jitter_probability=0.0):
    return unit_discovery(
        UnitNetworkConfig(width=8, strides=(2, 2), residual_blocks=1, speaker_width=4),
        ema_quantizer(CodebookConfig(codes=4, width=3), 0.25),
        FeatureConfig(mels=8),
        WaveformAugmentation(),
        rate=RATE,
        speakers=speakers,
        jitter_probability=jitter_probability,
        vector_metrics=collapse_metrics,
    )


def batch(speaker=(0, 1), size=1640):
    rng = np.random.default_rng(0)
    samples = np.array([200 + 80 * (frames - 1) for frames in FRAMES])
    waveform = 0.1 * rng.standard_normal((2, size)) * (np.arange(size) < samples[:, None])
    return {
        "waveform": jnp.asarray(waveform, jnp.float32),
        "samples": jnp.asarray(samples, jnp.int32),
        "speaker": jnp.asarray(speaker, jnp.int32),
        "example_weight": jnp.ones(2),
    }


@pytest.fixture(scope="module")
def trained():
    """The method, its parameters and the extras after one batch of speakers 0 and 1."""
    units = made()
    variables = units.speech.method.init(jax.random.key(0), batch())
    params, extras = variables.pop("params"), variables
    # The last kernel begins with zeros, with which nothing would be seen.
    kernel = params["decoder"]["output"]["kernel"]
    params["decoder"]["output"]["kernel"] = jax.random.normal(jax.random.key(1), kernel.shape)
    _, aux = jax.jit(units.speech.method.loss)(params, extras, batch(), jax.random.key(2))
    return units, params, extras, aux.extras


def test_an_utterance_alone_equals_itself_in_a_padded_batch(trained):
    units, params, _, extras = trained
    rows = batch()
    alone = {name: values[1:] for name, values in rows.items()}
    alone["waveform"] = alone["waveform"][:, : int(alone["samples"][0])]

    @jax.jit
    def shown(batch):
        return units.units(params, extras, batch), units.spectra(params, extras, batch).reconstruction

    (codes, spectra), (own_codes, own_spectra) = shown(rows), shown(alone)
    assert codes.shape == (2, 5)
    assert codes[1].tolist() == [*own_codes[0].tolist(), -1]
    assert (codes >= 0).sum(1).tolist() == [5, 4]
    np.testing.assert_allclose(spectra[1, : FRAMES[1]], own_spectra[0, : FRAMES[1]], atol=1e-4)


def test_the_error_is_that_of_true_frames(trained):
    units, params, _, extras = trained
    found = jax.jit(units.speech.method.evaluate)(params, extras, batch(), jax.random.key(3))
    spectra = jax.jit(units.spectra)(params, extras, batch())
    scale = np.sqrt(np.asarray(extras["target_statistics"]["variance"]) + 1e-5)
    errors = [
        np.square(np.asarray(spectra.reconstruction - spectra.original)[row, :count] / scale).mean(-1)
        for row, count in enumerate(FRAMES)
    ]
    loss = found["reconstruction_loss"]
    assert float(loss.weight) == sum(FRAMES)
    np.testing.assert_allclose(loss.sum, np.concatenate(errors).sum(), rtol=1e-4)
    assert float(found["commitment_loss"].weight) == 5 + 4


def test_the_decoder_knows_the_speakers_that_were_trained_on(trained):
    units, params, before, after = trained
    spectra = jax.jit(units.spectra)

    def voice(extras, speaker):
        return np.asarray(spectra(params, {**after, "heard": extras["heard"]}, batch(speaker)).reconstruction)

    unknown = voice(after, (-1, -1))
    assert np.abs(voice(after, (1, 0)) - unknown).max() > 1e-3
    assert np.abs(voice(after, (1, 0)) - voice(after, (0, 1))).max() > 1e-3
    for speaker in ((2, 2), (3, 900)):  # not in the batch, and beyond the table
        np.testing.assert_array_equal(voice(after, speaker), unknown)
    np.testing.assert_array_equal(voice(before, (0, 1)), unknown)


def test_a_decoder_that_is_told_no_speaker_has_no_table_of_them():
    params = made(speakers=0).speech.method.init(jax.random.key(0), batch())["params"]
    assert "speakers" not in params["decoder"]


def test_units_jitter_to_true_neighbours_with_the_probability():
    numbers = jnp.broadcast_to(jnp.arange(50.0)[None, :, None], (400, 50, 1))
    lengths = jnp.full(400, 40)
    found = np.asarray(jitter(jax.random.key(0), numbers, lengths, 0.3))[..., 0]
    step = found - np.arange(50)
    inner = step[:, 1:39]
    assert sorted(set(inner.ravel())) == [-1, 0, 1]
    for side in (-1, 1):
        np.testing.assert_allclose((inner == side).mean(), 0.15, atol=0.015)
    assert set(step[:, 0]) == {0, 1}
    assert found[:, 39].max() == 39
    assert jitter(jax.random.key(0), numbers, lengths, 0.0) is numbers
