"""The model of wav2vec 2.0 and HuBERT: padding, lengths, the mask, the gradient of the convolutions, the quantiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.errors import UserError
from ssl_jax.methods.wav2vec2 import ContrastConfig, frame_stride, normalise_waveform
from ssl_jax.models.wav2vec import GumbelConfig, GumbelQuantizer, WavConfig, WavEncoder

SHAPE = {
    "conv_width": 8,
    "kernels": (10, 3),
    "strides": (5, 2),
    "layers": 1,
    "width": 8,
    "heads": 2,
    "mlp_width": 8,
    "positional_kernel": 4,
    "positional_groups": 2,
}
KINDS = {"base": {}, "large": {"conv_norm": "layer", "conv_bias": True, "norm": "pre"}}
SAMPLES = 200


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    encoder = WavEncoder(WavConfig(**SHAPE, **KINDS[request.param]))
    waves = np.random.default_rng(0).normal(size=(2, SAMPLES)).astype(np.float32)
    variables = encoder.init(jax.random.key(0), waves, jnp.full(2, SAMPLES, jnp.int32))
    return encoder, variables, waves


def test_an_utterance_is_the_same_alone_and_in_a_padded_batch(model):
    encoder, variables, waves = model
    both = encoder.apply(variables, waves, jnp.array([SAMPLES, 120], jnp.int32))
    alone = encoder.apply(variables, waves[1:, :120], jnp.array([120], jnp.int32))
    length = int(alone.lengths[0])
    assert both.lengths.tolist() == [encoder.config.frames(SAMPLES), length]
    assert length == alone.hidden.shape[1] < both.hidden.shape[1]
    for name in ("hidden", "features", "raw_features"):
        np.testing.assert_allclose(getattr(both, name)[1, :length], getattr(alone, name)[0], atol=1e-5)


def test_the_mask_changes_the_hidden_states_and_not_the_targets(model):
    encoder, variables, waves = model
    samples = jnp.full(2, SAMPLES, jnp.int32)
    mask = jnp.zeros((2, encoder.config.frames(SAMPLES)), bool).at[0, 3:6].set(True)
    plain, masked = (encoder.apply(variables, waves, samples, m) for m in (None, mask))
    np.testing.assert_array_equal(plain.features, masked.features)
    np.testing.assert_array_equal(plain.hidden[1], masked.hidden[1])
    assert np.abs(plain.hidden[0] - masked.hidden[0]).max() > 1e-3


def test_the_convolutions_get_a_tenth_of_the_gradient(model):
    encoder, variables, waves = model
    whole = WavEncoder(WavConfig(**SHAPE, **{**KINDS["base"], "feature_gradient": 1.0}))
    if encoder.config.conv_norm == "layer":
        pytest.skip("one kind is enough")

    def gradients(encoder):
        def total(variables):
            return jnp.sin(encoder.apply(variables, waves, jnp.full(2, SAMPLES, jnp.int32)).hidden).sum()

        return jax.grad(total)(variables)["params"]

    tenth, full = gradients(encoder), gradients(whole)
    for ours, wanted in zip(*(jax.tree.leaves(g["feature_encoder"]) for g in (tenth, full)), strict=True):
        np.testing.assert_allclose(ours, 0.1 * wanted, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(tenth["projection"]["bias"], full["projection"]["bias"], rtol=1e-5)


def test_frames_of_the_base_model_at_16_khz():
    config = WavConfig()
    assert [config.frames(n) for n in (250_000, 16_000, 400, 399, 0)] == [781, 49, 1, 0, 0]
    assert config.frames(jnp.array([16_000, 399])).tolist() == [49, 0]
    assert config.receptive_field == 400


def test_the_quantiser_gives_vectors_of_its_codes():
    quantizer = GumbelQuantizer(GumbelConfig(groups=2, codes=3, code_width=4))
    features = jax.random.normal(jax.random.key(0), (5, 6))
    variables = quantizer.init(jax.random.key(1), features, None, None)
    vectors = variables["params"]["vectors"]
    likeliest = quantizer.apply(variables, features, None, None)
    for key in (None, jax.random.key(2)):
        found = quantizer.apply(variables, features, 2.0, key)
        wanted = jnp.concatenate([vectors[group][found.codes[:, group]] for group in range(2)], -1)
        np.testing.assert_allclose(found.vectors, wanted, atol=1e-5)
        np.testing.assert_allclose(found.probabilities.sum(-1), 1, atol=1e-5)
    assert (likeliest.codes == likeliest.probabilities.argmax(-1)).all()
    assert (found.codes != likeliest.codes).any()


def test_the_temperature_at_the_first_and_the_last_step():
    contrast = ContrastConfig()
    found = [float(contrast.gumbel_temperature(jnp.int32(step))) for step in (0, 100_000, 277_000, 400_000)]
    assert found == pytest.approx([2, 2 * 0.999995**100_000, 2 * 0.999995**277_000, 0.5], rel=1e-5)
    assert found[2] > 0.5


def test_a_waveform_is_normalised_over_its_true_samples():
    wave = np.random.default_rng(0).normal(3, 2, size=(1, 60)).astype(np.float32)
    ours = normalise_waveform(jnp.asarray(wave), jnp.array([40]))
    np.testing.assert_allclose(
        ours[0, :40], (wave[0, :40] - wave[0, :40].mean()) / wave[0, :40].std(), atol=1e-5
    )
    assert not ours[0, 40:].any()


def test_frames_are_whole_multiples_of_ten_milliseconds():
    assert frame_stride(WavConfig(), 16_000) == 2
    with pytest.raises(UserError, match=r"at 8000 Hz, expected a multiple of 80 samples .* at least 200"):
        frame_stride(WavConfig(**SHAPE), 8_000)
