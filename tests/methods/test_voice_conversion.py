"""Voice conversion: true frames alone count, what a code holds, the schedules, and what each stage trains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.evals.collapse import collapse_metrics
from ssl_jax.method import split_variables
from ssl_jax.methods.adversarial_voices import STAGES, StageConfig, adversarial_voices, confusion_weight
from ssl_jax.methods.voice_conversion import LossConfig, voice_conversion
from ssl_jax.models.voice_conversion import VoiceConfig, instance_norm
from ssl_jax.transforms.speech_features import FeatureConfig, frame_mask, log_mel
from ssl_jax.transforms.waveforms import WaveformAugmentation
from tests.methods.test_speech_methods import RATE, batch

MELS = 8
SMALL = VoiceConfig(width=4, bank=2, blocks=2, halvings=1, dense_blocks=1, content_size=3, speaker_size=3)
COMMON = SMALL, FeatureConfig(mels=MELS), WaveformAugmentation()


def to_convert(lengths, size):
    """Each utterance in the voice of the one before it."""
    rows = batch(lengths, size)
    other = {"reference": rows["waveform"][::-1], "reference_samples": rows["samples"][::-1]}
    return {**rows, **other, "target": jnp.arange(len(lengths)), "speaker": jnp.arange(len(lengths))}


@pytest.fixture(scope="module")
def adain():
    voices = voice_conversion(
        *COMMON, LossConfig(kl_warmup_steps=4), rate=RATE, vector_metrics=collapse_metrics
    )
    variables = jax.jit(voices.method.init)(jax.random.key(0), batch([1200], 1200))
    return voices, *split_variables(variables)


@pytest.fixture(scope="module")
def adversarial():
    made = adversarial_voices(*COMMON, StageConfig(), rate=RATE, speakers=2, steps=1_000)
    params, extras = split_variables(jax.jit(made.voices.method.init)(jax.random.key(0), batch([1200], 1200)))
    # A residual of 0 would hide what it does.
    return made, jax.tree.map(lambda x: x + 0.1, params), extras


def test_instance_normalisation_takes_its_statistics_from_true_frames():
    x = jax.random.normal(jax.random.key(0), (2, 6, 3), jnp.float32)
    mask = jnp.arange(6)[None] < jnp.array([6, 4])[:, None]
    found = np.asarray(instance_norm(x, mask))
    for row, count in enumerate((6, 4)):
        true = np.asarray(x[row, :count], np.float64)
        expected = (true - true.mean(0)) / np.sqrt(true.var(0) + 1e-5)
        np.testing.assert_allclose(found[row, :count], expected, atol=1e-5)
        assert not found[row, count:].any()


@pytest.mark.parametrize("name", ["adain", "adversarial"])
def test_padding_changes_neither_codes_nor_conversion(name, request):
    made, params, extras = request.getfixturevalue(name)
    voices = getattr(made, "voices", made)
    rows = to_convert([1200, 920], 1600)  # 13 and 10 frames of 18
    alone = {k: v[1:, :920] if k == "waveform" else v[1:] for k, v in rows.items()}
    codes, convert = jax.jit(voices.codes), jax.jit(voices.convert)
    together, single = (codes(params, extras, each) for each in (rows, alone))
    assert together.true.sum(1).tolist() == [7, 5]
    np.testing.assert_allclose(together.content[1, :5], single.content[0, :5], atol=1e-5)
    if together.speaker is not None:
        np.testing.assert_allclose(together.speaker[1], single.speaker[0], atol=1e-5)
    converted = convert(params, extras, rows)[1, :10]
    np.testing.assert_allclose(converted, convert(params, extras, alone)[0, :10], atol=1e-4)


def test_the_loss_is_ten_errors_and_the_divergence_of_true_frames(adain):
    voices, params, extras = adain
    rows = to_convert([1200, 920], 1600)
    itself = {**rows, "reference": rows["waveform"], "reference_samples": rows["samples"]}
    found = jax.jit(voices.method.evaluate)(params, extras, rows, jax.random.key(1))
    converted = jax.jit(voices.convert)(params, extras, itself)
    scale = np.sqrt(np.asarray(extras["statistics"]["variance"]) + 1e-5)
    errors = np.abs(converted - log_mel(rows["waveform"], RATE, MELS)) / scale[None, None]
    true = np.asarray(frame_mask(rows["samples"], 18, RATE))
    mean = errors.mean(-1)[true].mean()
    np.testing.assert_allclose(found["error"].sum / found["error"].weight, mean, rtol=1e-4)
    np.testing.assert_allclose(found["reconstruction_loss"].sum, 10 * found["error"].sum, rtol=1e-6)
    assert (found["reconstruction_loss"].weight, found["kl_loss"].weight) == (true.sum(), 7 + 5)
    np.testing.assert_allclose(found["kl_loss"].sum, found["kl"].sum / 4, rtol=1e-6)


def test_the_weight_of_the_divergence_rises_from_the_first_step_to_the_last_of_the_warm_up(adain):
    voices, params, extras = adain
    weights = [float(extras["kl_weight"])]
    for step in range(1, 6):
        extras = voices.method.after_update(params, extras, jnp.int32(step))
        weights.append(float(extras["kl_weight"]))
    assert weights == [0.25, 0.5, 0.75, 1, 1, 1]


def test_the_voice_is_that_of_the_reference(adain):
    voices, params, extras = adain
    rows = to_convert([1200, 920], 1200)
    other = {**rows, "reference": rows["waveform"], "reference_samples": rows["samples"]}
    convert = jax.jit(voices.convert)
    first, second = (convert(params, extras, each)[0] for each in (rows, other))
    assert np.abs(first - second).max() > 1e-3


def test_the_confusion_begins_with_the_third_stage():
    config = StageConfig(
        autoencoder=0.1, classifier=0.2, adversarial=0.4, confusion=0.5, confusion_warmup=0.5
    )
    assert config.ends(100) == (10, 30, 70, 100)
    found = {
        at: round(float(confusion_weight(config, 100, jnp.int32(at))), 6) for at in (0, 29, 30, 40, 50, 99)
    }
    assert found == {0: 0, 29: 0, 30: 0, 40: 0.25, 50: 0.5, 99: 0.5}


TRAINED = {
    "autoencoder": {"encoder", "decoder"},
    "classifier": {"classifier"},
    "adversarial": {"encoder", "decoder", "classifier"},
    "generator": {"generator", "critic"},
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_trains_its_networks_alone(stage, adversarial):
    made, params, extras = adversarial
    method = made.methods[STAGES.index(stage)]
    rows = to_convert([1200, 920], 1200)

    def total(params):
        losses, _ = method.loss(params, extras, rows, jax.random.key(1))
        return sum(mean.sum for mean in losses.values())

    slopes = jax.jit(jax.grad(total))(params)
    moved = {name for name, tree in slopes.items() if any(np.abs(x).max() > 0 for x in jax.tree.leaves(tree))}
    assert moved == TRAINED[stage]


def test_the_encoder_raises_the_loss_that_the_classifier_lowers(adversarial):
    made, params, extras = adversarial
    rows = to_convert([1200, 920], 1200)
    losses, _ = jax.jit(made.methods[2].loss)(
        params, {**extras, "confusion": jnp.float32(0.5)}, rows, jax.random.key(1)
    )
    np.testing.assert_allclose(losses["confusion_loss"].sum, -0.5 * losses["classifier_loss"].sum, rtol=1e-6)
