"""The experiment's presets by their shapes, and settings that cannot be."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import pytest

from experiments.vqvae import PRESETS, Config, build
from ssl_jax.errors import UserError
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.runs.configuration import restore_config

KINDS = ("ema", "gradient", "fsq", "lookup_free")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", PRESETS)
def test_shapes(preset, kind):
    """The state keeps its shape from step to step, and codes are a grid of the strides' coarseness."""
    config = dataclasses.replace(PRESETS[preset], quantizer=kind)
    experiment = build(config)
    (phase,) = experiment.phases
    extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), phase.batch))
    params = extras.pop("params")
    batch = phase.batch
    losses, aux = jax.eval_shape(experiment.method.loss, params, extras, batch, jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves((losses, aux.metrics))} == {()}
    after = jax.eval_shape(experiment.method.after_update, params, aux.extras, jnp.int32(1))
    for kept in (aux.extras, after):
        same = jax.tree.map(lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), extras, dict(kept))
        assert all(jax.tree.leaves(same))
    places = config.latents * (config.size // math.prod(config.network.strides)) ** 2
    width = {
        "ema": config.codebook.width,
        "gradient": config.codebook.width,
        "fsq": config.fsq.width,
        "lookup_free": config.lookup_free.bits,
    }[kind]
    features = jax.eval_shape(experiment.represent, params, extras, batch)
    assert features.shape == (phase.batch_size, places * width)


def test_alternatives_have_about_as_many_codes():
    for config in PRESETS.values():
        for codes in (config.fsq.codes, 2**config.lookup_free.bits):
            assert 0.9 <= codes / config.codebook.codes <= 1.1


@pytest.mark.parametrize("preset", PRESETS)
def test_config_comes_back_from_its_json(preset):
    config = PRESETS[preset]
    assert restore_config(config, json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"size": 9}, "size 9 is not divisible by the encoder's stride 2"),
        ({"size": 10, "network": ConvConfig(strides=(2, 2))}, "size 10 is not divisible"),
        ({"size": 0}, "size 0"),
        ({"variance": 0.0}, "variance 0.0"),
        ({"commitment": -1.0}, "commitment -1.0"),
    ],
)
def test_settings_that_cannot_be(settings, named):
    with pytest.raises(UserError, match=named):
        Config(**settings)


def test_more_codes_than_vectors_in_a_batch():
    experiment = build(Config(codebook=CodebookConfig(codes=4096, width=16)))
    extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch))
    params = extras.pop("params")
    with pytest.raises(UserError, match=r"4096 codes on the 2048 vectors.*--codebook.kmeans 0"):
        jax.eval_shape(experiment.method.loss, params, extras, experiment.phases[0].batch, jax.random.key(0))
