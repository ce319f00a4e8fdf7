"""Every preset of every experiment on images, by shapes alone: nothing is compiled, and no data is read."""

import dataclasses
import importlib
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from ssl_jax.cli import parse
from ssl_jax.recipes import datasets
from ssl_jax.recipes.views import ViewsConfig
from ssl_jax.runs.configuration import restore_config

FILES = (Path(__file__).parents[2] / "experiments").glob("[a-z]*.py")
MODULES = {
    file.stem: module
    for file in sorted(FILES)
    for module in [importlib.import_module(f"experiments.{file.stem}")]
    if isinstance(next(iter(module.PRESETS.values())), ViewsConfig)
}
"""Every experiment on views of images."""
PRESETS = [(name, preset) for name, module in MODULES.items() for preset in module.PRESETS]
ENCODERS = {
    (
        (3, 4, 6, 3),
        True,
        64,
        "imagenet",
    ): 23_508_032,  # torchvision's resnet50 without its 2,049,000 of the classifier
    ((2, 2, 2, 2), False, 64, "imagenet"): 11_176_512,  # resnet18 without 513,000
    ((2, 2, 2, 2), False, 64, "cifar"): 11_176_512 - (7 * 7 - 3 * 3) * 3 * 64,
}
"""Parameters of networks for colour images, by blocks, bottleneck, width and stem."""


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_shapes(name, preset, monkeypatch):
    def never(config):
        raise AssertionError("build reads data")

    monkeypatch.setattr(datasets, "open_images", never)
    config = MODULES[name].PRESETS[preset]
    experiment = MODULES[name].build(config)
    (phase,) = experiment.phases
    channels = config.data.channels
    assert phase.batch["image"].shape == (
        config.train.batch_size,
        config.data.canvas,
        config.data.canvas,
        channels,
    )

    extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), phase.batch))
    params = extras.pop("params")
    arrays = {leaf.dtype for leaf in jax.tree.leaves((params, extras)) if leaf.shape}  # no counters
    assert arrays == {jnp.dtype("float32")}
    network = config.encoder
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params["encoder"]))
    known = ENCODERS.get((network.blocks, network.bottleneck, network.width, network.stem))
    assert known == count or (known is None and (channels == 1 or preset == "imagenet_v2"))

    # The graph of the loss is the same for every size of the batch.
    batch = {n: jax.ShapeDtypeStruct((16, *x.shape[1:]), x.dtype) for n, x in phase.batch.items()}
    losses, aux = jax.eval_shape(experiment.method.loss, params, extras, batch, jax.random.key(0))
    scalars = jax.tree.leaves((losses, aux.metrics))
    assert {(leaf.shape, leaf.dtype) for leaf in scalars} == {((), jnp.dtype("float32"))}
    if name != "image_classifier":
        assert "probe_loss" in losses
        assert len(losses) > 1
    for before, after in zip(jax.tree.leaves(extras), jax.tree.leaves(dict(aux.extras)), strict=True):
        assert (before.shape, before.dtype) == (after.shape, after.dtype)
    features = jax.eval_shape(experiment.represent, params, extras, batch)
    assert features.shape == (16, network.features)
    assert features.dtype == jnp.float32


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_config_comes_back_from_its_json(name, preset):
    config = MODULES[name].PRESETS[preset]
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert restore_config(config, values) == config
    own = dataclasses.replace(
        config,
        steps=7,
        views=tuple(dataclasses.replace(view, crop_area=(0.1, 0.9)) for view in config.views),
    )
    values = json.loads(json.dumps(dataclasses.asdict(own)))
    assert restore_config(config, values) == own != config


def test_help_has_the_fields_of_either_view(capsys):
    with pytest.raises(SystemExit) as exit:
        parse(["--help-all"], MODULES["simclr"].PRESETS, "experiments.simclr", MODULES["simclr"].__doc__)
    assert exit.value.code == 0
    shown = capsys.readouterr().out
    for field in ("--views.0.crop_area", "--views.1.solarise", "--encoder.blocks", "--temperature"):
        assert field in shown
