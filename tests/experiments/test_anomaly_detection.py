"""The experiment's presets by their shapes, images that are all the same, and what a user may get wrong."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import pytest
from PIL import Image

from experiments import anomaly_detection
from experiments.anomaly_detection import PRESETS, build
from ssl_jax.runs.configuration import restore_config

SHORT = ["--steps=4", "--schedule.warmup_steps=1", "--train.batch_size=8", "--network.hidden=8"]


def pictures(folder, counts):
    """A folder for each class, with so many pictures that are all the same."""
    for name, count in counts.items():
        for split in ("train", "val"):
            (folder / split / name).mkdir(parents=True)
            for i in range(count if split == "train" else 2):
                Image.new("L", (8, 8), 90).save(folder / split / name / f"{i}.png")
    return folder


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_by_their_shapes(preset, monkeypatch):
    def never(config):
        raise AssertionError("build reads data")

    monkeypatch.setattr(anomaly_detection, "opened_images", never)
    config = PRESETS[preset]
    experiment = build(config)
    (phase,) = experiment.phases
    extras = dict(jax.eval_shape(experiment.method.init, jax.random.key(0), phase.batch))
    params = extras.pop("params")
    assert {(leaf.shape[0], leaf.dtype) for leaf in jax.tree.leaves(params)} == {(10, jnp.dtype("float32"))}
    batch = {n: jax.ShapeDtypeStruct((4, *x.shape[1:]), x.dtype) for n, x in phase.batch.items()}
    losses, aux = jax.eval_shape(experiment.method.loss, params, extras, batch, jax.random.key(0))
    assert {leaf.shape for leaf in jax.tree.leaves((losses, aux.metrics))} == {()}
    values = json.loads(json.dumps(dataclasses.asdict(config)))
    assert restore_config(config, values) == config


def test_pictures_that_are_all_the_same(command, tmp_path):
    source = pictures(tmp_path / "pictures", {"cat": 8, "dog": 8})
    few = ["--classes=2", "--validation_share=0.5", "--false_alarm_rate=0.25", "--code_size=2"]
    folder = tmp_path / "run"
    code, out, error = command(
        "anomaly_detection", *SHORT, *few, f"--data.source={source}", f"--workdir={folder}"
    )
    assert (code, error) == (0, "")
    assert "means of 2 detectors" in out
    assert "nan" not in out
    found = json.loads((folder / "anomalies.json").read_text())
    for name in ("PCA", "k-NN", "reconstruction"):  # there is nothing to tell them apart by
        assert found[name]["cat"]["auroc"] == 0.5, name


@pytest.mark.parametrize(
    ("counts", "arguments", "named"),
    [
        (
            {"cat": 1, "dog": 30},
            ["--normal=cat"],
            "normal cat: of 1 normal images, 0 are for choosing the threshold",
        ),
        ({"cat": 30, "dog": 30}, ["--normal=cow"], "no such class; there are: cat, dog"),
        ({"": 30}, ["--normal=cat"], "these images have no labels"),
        ({"cat": 30, "dog": 30}, ["--normal=cat", "--false_alarm_rate=0.01"], "needs 99"),
    ],
)
def test_pictures_to_learn_nothing_from(refused, tmp_path, counts, arguments, named):
    source = pictures(tmp_path / "pictures", counts)
    arguments = [*SHORT, *arguments, f"--data.source={source}", f"--workdir={tmp_path / 'run'}"]
    assert named in refused("anomaly_detection", *arguments)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--code_size=0"], "--code_size 0: expected"),
        (["--validation_share=1"], "--validation_share 1.0: expected"),
        (["--false_alarm_rate=0"], "--false_alarm_rate 0.0: expected"),
        (["--classes=1"], "classes 1 must be at least 2"),
        (["--normal", "0", "0"], "normal 0 0: name each class once"),
        (["--optimizer.clip_norm=1"], "would clip the gradients of 10 detectors"),
    ],
)
def test_setting(refused, tmp_path, arguments, named):
    assert named in refused("anomaly_detection", *SHORT, *arguments, f"--workdir={tmp_path / 'run'}")
