"""The experiments with autoencoders: presets by their shapes, whole runs in small, and what a user may get wrong."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from experiments import autoencoder, denoising_autoencoder
from ssl_jax.data.digits import Digits
from ssl_jax.evals import probe_comparison

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


def test_code_sizes_are_compared_with_pca_on_the_held_out_images(command, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_comparison, "REPEATS", 2)  # draws of the labels, to save time
    folder = tmp_path / "run"
    small = ["--network.hidden=16", "--code_sizes", "3", "2", "--probe_examples=200"]
    code, _, error = command("autoencoder", *SHORT, *small, f"--workdir={folder}")
    assert (code, error) == (0, "")
    found = json.loads((folder / "code_sizes.json").read_text())
    train, heldout = (
        np.rint(255 * np.stack([digits[i]["image"] for i in range(len(digits))])).astype(np.float64) / 255
        for digits in (Digits(heldout=False), Digits(heldout=True))
    )
    centred, mean = heldout - train.mean(0), train.mean(0)
    assert found["mean image"] == pytest.approx(np.square(centred).mean(), rel=1e-4)
    directions = np.linalg.svd(train - mean, full_matrices=False)[2]
    for size in (2, 3):
        reconstructed = np.clip(centred @ directions[:size].T @ directions[:size] + mean, 0, 1)
        assert found["PCA"][str(size)] == pytest.approx(np.square(reconstructed - heldout).mean(), rel=1e-3)
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert found["autoencoder"] == {str(size): last[f"code_{size}_error"] for size in (2, 3)}
    rows = json.loads((folder / "probes.json").read_text())
    assert [*rows] == ["code of 2", "PCA of 2", "code of 3", "PCA of 3", "random init", "raw pixels"]
    for plot in ("error_by_code_size", "probe_by_code_size", "reconstructions", "map", "map_pca", "error"):
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000, plot


def test_noises_are_taken_off_and_compared(command, tmp_path):
    folder = tmp_path / "run"
    small = ["--code_size=8", "--noise.masking=0", "--probe_examples=60"]
    code, _, error = command("denoising_autoencoder", *SHORT, *small, f"--workdir={folder}")
    assert (code, error) == (0, "")
    left = json.loads((folder / "reconstruction_errors.json").read_text())
    assert [*left] == ["gaussian", "salt_and_pepper"]
    assert [*left["gaussian"]] == ["nothing", "median", "mean", "plain", "gaussian", "salt_and_pepper"]
    # A fifth of the pixels, half of them black, half of them white: all of 0 and of 1 are as far from the digits' mean.
    assert 0.05 < left["salt_and_pepper"]["nothing"] < 0.12
    rows = json.loads((folder / "probes.json").read_text())
    assert [*rows] == ["plain", "gaussian", "salt_and_pepper", "random init", "raw pixels"]
    for plot in ("reconstructions", "first_layer", "probes", "error"):
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000, plot


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
        ("autoencoder", ["--code_sizes", "2", "0"], "a code of size 0: must be from 1"),
        ("autoencoder", ["--code_sizes", "2", "2"], "code_sizes (2, 2)"),
        ("autoencoder", ["--size=0"], "size 0 must be at least 1 pixel"),
        ("autoencoder", ["--optimizer.clip_norm=1"], "optimizer.clip_norm 1.0 would clip the gradients of 5"),
        (
            "autoencoder",
            [*CONVOLUTIONAL, "--network.convolutional.strides", "3", "2"],
            "size 8 is not divisible by the encoder's stride 6 (3 x 2); give images of size 6 or 12",
        ),
        ("denoising_autoencoder", ["--code_size=0"], "a code of size 0"),
        ("denoising_autoencoder", ["--noise.masking=1.5"], "noise.masking 1.5 must be 0 (none) or above"),
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
