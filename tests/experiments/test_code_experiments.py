"""The experiments with variational and discrete codes: presets by their shapes, images without labels, bad settings."""

import json

import numpy as np
import pytest

from experiments import discrete_autoencoder, vae

MODULES = {"vae": vae, "discrete_autoencoder": discrete_autoencoder}
PRESETS = [(name, preset) for name, module in MODULES.items() for preset in module.PRESETS]
SHORT = ["--steps=4", "--schedule.warmup_steps=1", "--train.batch_size=32", "--train.log_every=1"]


@pytest.mark.parametrize(("name", "preset"), PRESETS)
def test_presets_by_their_shapes(name, preset, code_of_preset):
    code, config = code_of_preset(MODULES[name], preset), MODULES[name].PRESETS[preset]
    assert code.shape == (4, config.code_size if name == "vae" else config.classes)


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
    found = json.loads((tmp_path / "vae" / "likelihood.json").read_text())
    assert found.pop("likelihood") == "gaussian"
    plain, weighted, other = found.values()
    assert plain["nats"] < weighted["nats"]
    assert other["bits_per_dim"] < plain["bits_per_dim"]  # four steps do not make a model
    for metrics in found.values():
        assert metrics["bits_per_dim"] == pytest.approx(8 - metrics["nats"] / (192 * np.log(2)), rel=1e-4)


@pytest.mark.parametrize(
    ("module", "settings", "named"),
    [
        (vae, {"code_size": 0}, "code_size 0: expected"),
        (vae, {"importance_samples": 0}, "importance_samples 0: expected"),
        (vae, {"network": vae.AutoencoderConfig(code="sigmoid")}, "network.code sigmoid"),
        (discrete_autoencoder, {"classes": 1}, "classes 1: a code of one class"),
        (discrete_autoencoder, {"balance": -1.0}, "balance -1.0: expected"),
        (discrete_autoencoder, {"bits": -1}, "bits -1: expected"),
        (discrete_autoencoder, {"numbers": 0, "bits": 0, "classes": 0}, "are all 0; give at least one"),
    ],
)
def test_setting(module, settings, named):
    with pytest.raises(module.UserError, match=named):
        module.Config(**settings)
