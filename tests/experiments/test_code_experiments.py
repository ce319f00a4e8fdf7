"""The experiments with variational and discrete codes: presets by their shapes, whole runs in small, bad settings."""

import json

import numpy as np
import pytest

from experiments import discrete_autoencoder, vae
from ssl_jax.evals import probe_comparison

MODULES = {"vae": vae, "discrete_autoencoder": discrete_autoencoder}
PRESETS = [(name, preset) for name, module in MODULES.items() for preset in module.PRESETS]
SHORT = ["--steps=4", "--schedule.warmup_steps=1", "--train.batch_size=32", "--train.log_every=1"]
SMALL = ["--network.hidden=16", "--probe_examples=60"]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_by_their_shapes(name, preset, code_of_preset):
    code, config = code_of_preset(MODULES[name], preset), MODULES[name].PRESETS[preset]
    assert code.shape == (4, config.code_size if name == "vae" else config.classes)


def check_likelihoods(folder, likelihood, dims):
    """The bounds and the other model's figure, in nats and in bits of data of its kind."""
    found = json.loads((folder / "likelihood.json").read_text())
    assert found.pop("likelihood") == likelihood
    plain, weighted, other = found.values()
    assert plain["nats"] < weighted["nats"]
    assert other["bits_per_dim"] < plain["bits_per_dim"]  # four steps do not make a model
    for metrics in found.values():
        shift = 8 if likelihood == "gaussian" else 0
        assert metrics["bits_per_dim"] == pytest.approx(
            shift - metrics["nats"] / (dims * np.log(2)), rel=1e-4
        )


def test_likelihoods_of_held_out_images_stand_beside_a_model_without_a_network(
    command, tmp_path, monkeypatch
):
    monkeypatch.setattr(probe_comparison, "REPEATS", 2)  # draws of the labels, to save time
    folder = tmp_path / "run"
    kind = ["--code_size=2", "--importance_samples=5", "--kl.warmup_steps=2"]
    code, out, error = command("vae", *SHORT, *SMALL, *kind, f"--workdir={folder}")
    assert (code, error) == (0, "")
    assert "of the code's 2 numbers are active" in out
    check_likelihoods(folder, "bernoulli", 64)
    assert [*json.loads((folder / "probes.json").read_text())] == ["code", "random init", "raw pixels"]
    for plot in (
        "samples",
        "interpolations",
        "latent_grid",
        "reconstructions",
        "map",
        "probes",
        "elbo",
        "kl",
    ):
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000, plot


def test_codes_stand_beside_pca_kmeans_and_labels(command, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_comparison, "REPEATS", 2)
    folder = tmp_path / "run"
    sizes = ["--numbers=2", "--bits=3", "--classes=12"]
    code, out, error = command("discrete_autoencoder", *SHORT, *SMALL, *sizes, f"--workdir={folder}")
    assert (code, error) == (0, "")
    rows = json.loads((folder / "codes.json").read_text())
    assert {name: row["bits"] for name, row in rows.items()} == {
        "real code of 2": 64,
        "PCA of 2": 64,
        "binary code of 3": 3,
        "one-hot code of 12": pytest.approx(np.log2(12)),
        "k-means of 12": pytest.approx(np.log2(12)),
    }
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert rows["one-hot code of 12"]["error"] == last["one_hot_error"]
    clusters = json.loads((folder / "clusters.json").read_text())
    assert [*clusters] == ["one-hot code", "k-means of pixels"]
    assert 0.5 < clusters["k-means of pixels"]["accuracy"] < 0.95
    assert "binary code: " in out
    probed = [*json.loads((folder / "probes.json").read_text())]
    assert probed == ["real code", "binary code", "one-hot code", "raw pixels"]
    for plot in ("reconstructions", "classes", "classes_by_label", "bits", "probes", "error"):
        assert (folder / "plots" / f"{plot}.png").stat().st_size > 3000, plot


def test_one_kind_of_code_of_unlabelled_pictures_that_are_all_the_same(command, tmp_path):
    from PIL import Image

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(5):
        Image.new("RGB", (8, 8), (90, 20, 60)).save(pictures / f"{i}.png")
    source = [
        f"--data.source={pictures}",
        "--data.canvas=8",
        "--data.channels=3",
        *SHORT,
        "--network.hidden=4",
    ]
    only = ["--numbers=0", "--bits=2", "--classes=3"]
    for name, options in {
        "vae": ["--likelihood=gaussian", "--code_size=1"],
        "discrete_autoencoder": only,
    }.items():
        code, out, error = command(name, *source, *options, f"--workdir={tmp_path / name}")
        assert (code, error) == (0, "")
        assert "no probes: these images have no labels" in out
        assert "nan" not in out
    check_likelihoods(tmp_path / "vae", "gaussian", 192)


@pytest.mark.parametrize(
    ("module", "settings", "named"),
    [
        (vae, {"code_size": 0}, "a code of size 0"),
        (vae, {"importance_samples": 0}, "importance_samples 0 must be at least 1"),
        (vae, {"network": vae.AutoencoderConfig(code="sigmoid")}, "network.code sigmoid"),
        (discrete_autoencoder, {"classes": 1}, "classes 1: a code of one class"),
        (discrete_autoencoder, {"balance": -1.0}, "balance -1.0 must be 0"),
        (discrete_autoencoder, {"bits": -1}, "a code of size -1"),
        (discrete_autoencoder, {"numbers": 0, "bits": 0, "classes": 0}, "are all 0; give at least one"),
    ],
)
def test_setting(module, settings, named):
    with pytest.raises(module.UserError, match=named):
        module.Config(**settings)
