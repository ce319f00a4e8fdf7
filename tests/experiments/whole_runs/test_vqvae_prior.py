"""A VQ-VAE and its prior, trained one after the other, and a prior over the codes of a finished run."""

import dataclasses
import json
import shutil
from dataclasses import replace

import jax
import matplotlib.image
import numpy as np
import pytest
from etils import epath

import ssl_jax
from experiments import vqvae
from experiments.vqvae_prior import PRESETS, Config, build
from ssl_jax.errors import UserError
from ssl_jax.methods.code_prior import PriorConfig
from ssl_jax.models.conv_autoencoder import ConvConfig
from ssl_jax.models.quantization.codebook import CodebookConfig
from ssl_jax.runs.configuration import restore_config, run_settings
from ssl_jax.runs.opening import open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.warm_start import build_run
from ssl_jax.training import loop, metrics
from ssl_jax.training.schedules import ScheduleConfig

RATE = ScheduleConfig(learning_rate=1e-3, warmup_steps=0, decay="constant")


def tiny():
    every = dict.fromkeys(("log_every", "eval_every", "save_every", "keep_every"), 2)
    train = replace(Config().train, batch_size=64, **every)
    first = vqvae.Config(
        steps=2,
        codebook=CodebookConfig(codes=8, width=4, kmeans=1),
        network=ConvConfig(width=8, strides=(2,), residual_blocks=1, residual_width=4),
        probe_examples=40,
        schedule=RATE,
        train=train,
    )
    return Config(
        steps=2, prior=PriorConfig(layers=1, width=16, heads=2), vqvae=first, schedule=RATE, train=train
    )


def settings(config):
    return run_settings("experiments.vqvae_prior", "digits", config)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that began with its own VQ-VAE."""
    folder = epath.Path(tmp_path_factory.mktemp("prior") / "run")
    assert loop.train(build(tiny()), folder, settings(tiny())) == 0
    return folder


def test_shows_samples_and_figures(trained):
    assert (trained / "vqvae" / "checkpoints" / "2").exists()
    for name in ("samples/step-2.png", "plots/samples.png", "plots/code_use_samples.png"):
        assert matplotlib.image.imread(trained / name)[..., :3].std() > 0.05
    last = metrics.read(trained)[-1]
    assert last["bits_per_dim"] == pytest.approx(last["prior_bits_per_dim"] + last["decoder_bits_per_dim"])
    assert 0 < last["code_loss"] < 1.2 * np.log(8)
    written = json.loads((trained / "prior.json").read_text())
    assert written["nats_per_code"]["learned prior"] == last["code_loss"]
    assert 0 < written["deviation"] < 1
    assert written["used"]["samples"] <= 8


def test_takes_the_autoencoder_of_a_run(trained, tmp_path, capsys):
    config = replace(tiny(), run=f"{trained / 'vqvae'}@2", vqvae=PRESETS["mnist"].vqvae)
    first = loop.Run(build(tiny()), trained, settings(tiny()))
    second = loop.Run(build(config), epath.Path(tmp_path / "second"), settings(config))
    for run in (first, second):
        run.checkpoints.close()
    assert f"starting from {trained / 'vqvae'}@2, a run of experiments.vqvae; " in capsys.readouterr().out
    # One has them from its checkpoint after training, the other from the run before any.
    assert (first.step, second.step) == (2, 0)
    jax.tree.map(np.testing.assert_array_equal, dict(first.state.extras), dict(second.state.extras))


def test_a_run_needs_nothing_of_the_run_that_it_began_with(trained, tmp_path):
    """The VQ-VAE has gone after the first checkpoint; the run itself has moved."""
    vqvae_run, folder = epath.Path(tmp_path / "vqvae"), epath.Path(tmp_path / "run")
    shutil.copytree(trained / "vqvae", vqvae_run)
    config = replace(tiny(), steps=2, run=str(vqvae_run), vqvae=PRESETS["mnist"].vqvae)
    assert loop.train(build_run(build, config, folder), folder, settings(config)) == 0
    shutil.rmtree(vqvae_run)
    folder = folder.rename(tmp_path / "moved")
    assert loop.train(build_run(build, config, folder), folder, settings(config)) == 0
    run = open_run(RunReference(folder))
    assert run.data.identity
    assert run.restore()["vqvae"]
    shutil.rmtree(folder / "vqvae")
    with pytest.raises(UserError, match=r"its copy of the run .*vqvae, in .*moved/vqvae, is not there"):
        open_run(RunReference(folder))


def test_runs_that_cannot_be(trained, tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        build(Config(run=str(tmp_path)))
    with pytest.raises(
        UserError, match=r"is a run of experiments\.vqvae_prior; expected one of experiments\.vqvae\."
    ):
        build(Config(run=str(trained)))
    config = replace(tiny(), run=f"{trained / 'vqvae'}@7")
    with pytest.raises(UserError, match=r"vqvae: has no checkpoint of step 7; there are 2\."):
        loop.Run(build(config), epath.Path(tmp_path / "run"), settings(config))


@pytest.mark.parametrize("preset", ["digits", "cifar10", "imagenet"])
def test_presets(preset):
    """Their shapes, and that they come back from their JSON."""
    config = PRESETS[preset]
    assert restore_config(config, json.loads(json.dumps(dataclasses.asdict(config)))) == config
    experiment = build(config)
    (phase,) = experiment.phases
    extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), phase.batch))
    params = extras.pop("params")
    losses, aux = jax.eval_shape(experiment.method.loss, params, extras, phase.batch, jax.random.key(0))
    assert set(losses) == {"code_loss"}
    assert jax.tree.map(lambda x: (x.shape, x.dtype), dict(aux.extras)) == jax.tree.map(
        lambda x: (x.shape, x.dtype), extras
    )


def test_the_trained_model_scores_encodes_and_decodes_images(trained):
    """Held-out images as arrays have the metrics of the evaluation."""
    model = ssl_jax.load(str(trained))
    assert (model.reads, model.abilities) == ("images", ("reconstruct", "encode", "decode", "score"))
    heldout = open_run(RunReference.parse(str(trained))).data.heldout[0]["heldout"]
    pixels = np.stack([heldout[i]["image"][..., 0] for i in range(len(heldout))])
    scores = model.score(pixels)
    last = metrics.read(trained)[-1]
    codes = model.encode(pixels)
    assert codes.shape == (len(pixels), 4, 4)
    assert -scores["code_log_likelihood"].mean() / 16 == pytest.approx(last["code_loss"], rel=1e-4)
    assert scores["bits_per_dim"].mean() == pytest.approx(last["bits_per_dim"], rel=1e-4)
    np.testing.assert_allclose(model.decode(codes), model.reconstruct(pixels), atol=1e-6)
    with pytest.raises(UserError, match=r"cannot embed; it can reconstruct, encode, decode, score\."):
        model.embed(pixels)
