"""APC and Mockingjay: which frames count, and that what follows an utterance changes nothing of it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.methods.apc import predictive_coding, predictive_units
from ssl_jax.methods.mockingjay import MaskConfig, corrupt_frames, masked_reconstruction
from ssl_jax.methods.speech import features_of, initial_statistics, pooled
from ssl_jax.models.gru import GruLayer, PredictiveGru
from ssl_jax.models.speech_transformer import SpeechTransformer, layers_of
from ssl_jax.transforms.speech_features import FeatureConfig
from ssl_jax.transforms.waveforms import WaveformAugmentation

RATE, FEATURES = 8_000, FeatureConfig(mels=8)
PREDICTIVE_CODES = PredictiveGru(2, 8, 8, codes=5, quantized_layer=2)
COMMON = {"rate": RATE, "vector_metrics": collapse_metrics}


def batch(lengths, size):
    rng = np.random.default_rng(0)
    waveform = np.zeros((len(lengths), size), np.float32)
    for row, length in enumerate(lengths):
        waveform[row, :length] = 0.1 * rng.standard_normal(length)
    return {
        "waveform": jnp.asarray(waveform),
        "samples": jnp.asarray(lengths, jnp.int32),
        "example_weight": jnp.ones(len(lengths)),
    }


@pytest.fixture(scope="module")
def apc():
    return predictive_coding(PredictiveGru(2, 8, 8), FEATURES, WaveformAugmentation(), ahead=3, **COMMON)


@pytest.fixture(scope="module")
def mockingjay():
    network = SpeechTransformer(layers_of(1, 8, heads=2), 8)
    return masked_reconstruction(
        network, FEATURES, WaveformAugmentation(), MaskConfig(run=3), **COMMON
    ).speech


@pytest.fixture(scope="module")
def vq_apc():
    return predictive_coding(PREDICTIVE_CODES, FEATURES, WaveformAugmentation(), ahead=3, **COMMON)


@pytest.mark.parametrize("name", ["apc", "mockingjay"])
def test_an_utterance_alone_equals_itself_in_a_padded_batch(name, request):
    speech = request.getfixturevalue(name)
    rows = batch([1200, 800], 1600)
    variables = speech.method.init(jax.random.key(0), rows)
    params, extras = variables.pop("params"), variables
    together = speech.layers(params, extras, rows)
    alone = speech.layers(
        params, extras, {"waveform": rows["waveform"][1:, :800], "samples": rows["samples"][1:]}
    )
    for layer, states in alone.items():
        np.testing.assert_allclose(together[layer][1, : states.shape[1]], states[0], atol=1e-5)


def test_the_error_of_predictions_counts_pairs_of_true_frames(apc):
    rows = batch([1200, 800], 1600)
    variables = apc.method.init(jax.random.key(0), rows)
    params, extras = variables.pop("params"), variables
    losses, aux = apc.method.loss(params, extras, rows, jax.random.key(1))
    seen = features_of(FEATURES, RATE, rows["waveform"], rows["samples"], extras, learn=True)
    predicted = PredictiveGru(2, 8, 8).apply({"params": params}, seen.features).prediction
    errors = [
        np.abs(predicted[row, : count - 3] - seen.features[row, 3:count]).mean(-1)
        for row, count in enumerate((13, 8))
    ]
    found = losses["prediction_loss"]
    np.testing.assert_allclose(found.weight, 10 + 5)
    np.testing.assert_allclose(found.sum, np.concatenate(errors).sum(), rtol=1e-5)
    assert float(aux.extras["statistics"]["count"]) == 1 + 13 + 8


def test_a_quantised_layer_lets_codes_alone_through(vq_apc):
    rows = batch([1200, 800], 1600)
    variables = vq_apc.method.init(jax.random.key(0), rows)
    params, extras = variables.pop("params"), variables
    seen = features_of(FEATURES, RATE, rows["waveform"], rows["samples"], extras)
    found = PREDICTIVE_CODES.apply({"params": params}, seen.features)
    codes, prediction = np.asarray(found.codes), np.asarray(found.prediction)
    assert len(np.unique(codes)) > 1
    for code in np.unique(codes):
        assert (prediction[codes == code] == prediction[codes == code][0]).all()
    units = predictive_units(PREDICTIVE_CODES, FEATURES, rate=RATE)(params, extras, rows)
    np.testing.assert_array_equal(units, np.where(seen.mask, codes, -1))

    @jax.jit
    def gradient(params):
        def total(params):
            losses, aux = vq_apc.method.loss(params, extras, rows, jax.random.key(1))
            return losses["prediction_loss"].sum, aux.metrics["code_perplexity"]

        return jax.value_and_grad(total, has_aux=True)(params)

    (_, perplexity), gradients = gradient(params)
    assert perplexity.weight == 13 + 8
    assert 1 <= perplexity.sum / perplexity.weight <= 5
    assert np.abs(gradients["layer1"]["kernel"]).max() > 0  # straight through the draw


def test_a_gru_is_that_of_its_equations_and_looks_back_alone():
    layer, x = GruLayer(3), jax.random.normal(jax.random.key(0), (2, 5, 4))
    variables = layer.init(jax.random.key(1), x)
    p = jax.tree.map(np.asarray, variables["params"])
    state, expected = np.zeros((2, 3)), []
    sigmoid = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    for t in range(5):
        given = np.einsum("bi,igo->bgo", x[:, t], p["input"]["kernel"]) + p["input"]["bias"]
        own = (state @ p["kernel"]).reshape(2, 3, 3)
        reset, update = sigmoid(given[:, 0] + own[:, 0]), sigmoid(given[:, 1] + own[:, 1])
        new = np.tanh(given[:, 2] + reset * (own[:, 2] + p["bias"]))
        state = (1 - update) * new + update * state
        expected.append(state)
    found = layer.apply(variables, x)
    np.testing.assert_allclose(found, np.stack(expected, 1), atol=1e-5)
    changed = layer.apply(variables, x.at[:, 3].set(9.0))
    np.testing.assert_allclose(changed[:, :3], found[:, :3])


def test_the_error_of_reconstructions_counts_masked_frames_of_unmasked_targets(mockingjay):
    rows = batch([1200, 800], 1600)
    variables = mockingjay.method.init(jax.random.key(0), rows)
    params, extras = variables.pop("params"), variables
    losses = mockingjay.method.evaluate(params, extras, rows, jax.random.key(1))
    seen = features_of(FEATURES, RATE, rows["waveform"], rows["samples"], extras)
    masking = jax.random.split(jax.random.key(1))[0]
    corrupted = corrupt_frames(masking, seen.features, seen.mask, MaskConfig(run=3))
    network = SpeechTransformer(layers_of(1, 8, heads=2), 8)
    found = network.apply({"params": params}, corrupted.features, seen.mask)
    error = np.abs(found.features - seen.features).mean(-1)[np.asarray(corrupted.counted)]
    np.testing.assert_allclose(losses["reconstruction_loss"].weight, error.size)
    np.testing.assert_allclose(losses["reconstruction_loss"].sum, error.sum(), rtol=1e-5)
    assert not corrupted.counted[1, 8:].any()


def test_global_statistics_are_those_of_all_frames_seen():
    extras = {"statistics": initial_statistics(FEATURES)}
    raw = []
    for seed in range(3):
        rows = batch([1200 + 80 * seed, 800], 1600)
        raw.append(
            features_of(FeatureConfig(mels=8, normalise="none"), RATE, rows["waveform"], rows["samples"], {})
        )
        extras = features_of(FEATURES, RATE, rows["waveform"], rows["samples"], extras, learn=True).extras
    frames = np.concatenate([np.asarray(each.features)[np.asarray(each.mask)] for each in raw])
    first = np.array([[8.0] * 8, [16.0] * 8])  # the frame that stands for usual speech: mean 12, variance 16
    frames = np.concatenate([frames, first])
    weights = np.r_[np.ones(len(frames) - 2), 0.5, 0.5]
    mean = np.average(frames, axis=0, weights=weights)
    known = extras["statistics"]
    np.testing.assert_allclose(known["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(
        known["variance"], np.average((frames - mean) ** 2, axis=0, weights=weights), rtol=1e-4
    )


def test_an_utterance_is_the_means_of_its_parts():
    frames = jnp.arange(8, dtype=jnp.float32)[None, :, None]
    mask = jnp.arange(8)[None] < 6
    assert pooled(frames, mask, 3).tolist() == [[0.5, 2.5, 4.5]]
    assert pooled(frames[:, :1], mask[:, :1], 2).tolist() == [[0.0, 0.0]]
