"""The experiments with autoencoders: presets by their shapes, images without labels, and what a user may get wrong."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import pytest
from PIL import Image

from experiments import autoencoder, denoising_autoencoder

MODULES = {"autoencoder": autoencoder, "denoising_autoencoder": denoising_autoencoder}
PRESETS = [(name, preset) for name, module in MODULES.items() for preset in module.PRESETS]
SHORT = ["--steps=4", "--schedule.warmup_steps=1", "--train.batch_size=32", "--train.log_every=1"]
CONVOLUTIONAL = [
    "--network.kind=convolutional",
    "--network.convolutional.width=4",
    "--network.convolutional.residual_blocks=1",
    "--network.convolutional.residual_width=2",
]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_by_their_shapes(name, preset, code_of_preset):
    code, config = code_of_preset(MODULES[name], preset), MODULES[name].PRESETS[preset]
    largest = max(config.code_sizes) if name == "autoencoder" else config.code_size
    assert (code.shape, code.dtype) == ((4, largest), jnp.dtype("float32"))


def test_the_networks_of_the_papers():
    experiment = autoencoder.build(autoencoder.PRESETS["tfds_mnist"])
    params = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)["params"]
    sizes = [784, 1000, 500, 250, 30, 250, 500, 1000, 784]
    wanted = sum(a * b + b for a, b in itertools.pairwise(sizes))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params["code_30"])) == wanted
    experiment = denoising_autoencoder.build(denoising_autoencoder.PRESETS["tfds_mnist"])
    params = jax.eval_shape(experiment.method.init, jax.random.key(0), experiment.phases[0].batch)["params"]
    assert params.keys() == {"plain", "gaussian", "masking", "salt_and_pepper"}
    for layers in params.values():
        count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(layers))
        assert count == 784 * 2000 + 2000 + 2000 * 784 + 784


def test_convolutions_on_unlabelled_pictures_that_are_all_the_same(command, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(5):
        Image.new("RGB", (12, 9), (90, 20, 60)).save(pictures / f"{i}.png")
    source = [f"--data.source={pictures}", "--data.canvas=12", "--data.channels=3", "--code_sizes", "3"]
    folder = tmp_path / "run"
    code, out, error = command("autoencoder", *SHORT, *CONVOLUTIONAL, *source, f"--workdir={folder}")
    assert (code, error) == (0, "")
    assert "no probes: these images have no labels" in out
    found = json.loads((folder / "code_sizes.json").read_text())
    assert found["mean image"] < 1e-10
    assert max(found["PCA"].values()) < 1e-10
    assert all(math.isfinite(value) for value in found["autoencoder"].values())
    assert "nan" not in out


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("autoencoder", ["--code_sizes", "2", "0"], "--code_sizes 0: expected an integer from 1 to 65,536"),
        ("autoencoder", ["--code_sizes", "2", "2"], "code_sizes (2, 2)"),
        ("autoencoder", ["--size=0"], "--size 0: expected"),
        ("autoencoder", ["--optimizer.clip_norm=1"], "optimizer.clip_norm 1.0 would clip the gradients of 5"),
        (
            "autoencoder",
            [*CONVOLUTIONAL, "--network.convolutional.strides", "3", "2"],
            "size 8 is not divisible by the encoder's stride 6 (3 x 2); give images of size 6 or 12",
        ),
        ("denoising_autoencoder", ["--code_size=0"], "--code_size 0: expected"),
        ("denoising_autoencoder", ["--noise.masking=1.5"], "--noise.masking 1.5: expected"),
        (
            "denoising_autoencoder",
            [f"--noise.{noise}=0" for noise in denoising_autoencoder.NOISES],
            "every noise is 0; give at least one",
        ),
    ],
)
def test_setting(refused, tmp_path, name, arguments, named):
    assert named in refused(name, *SHORT, *arguments, f"--workdir={tmp_path / 'run'}")


def test_a_single_picture_is_refused(refused, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("L", (8, 8)).save(pictures / "one.png")
    error = refused("autoencoder", *SHORT, f"--data.source={pictures}", f"--workdir={tmp_path / 'run'}")
    assert "at least 2 are needed" in error
