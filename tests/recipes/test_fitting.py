"""Canvas, channels and classes are those of the user's images, unless they are given."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from experiments import autoencoder, simclr
from ssl_jax.recipes.fitting import fitted_to_images


@pytest.fixture
def photos(tmp_path: Path) -> str:
    for number in range(12):
        file = tmp_path / f"class{number % 3}" / f"{number}.png"
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (300, 200)).save(file)
    return str(tmp_path)


def on(source: str, config, **data):
    return replace(config, data=replace(config.data, source=source, **data))


def test_what_is_not_given_is_chosen(photos: str) -> None:
    asked = on(photos, simclr.PRESETS["digits"])
    config, lines = fitted_to_images(asked, [])
    assert config == replace(on(photos, asked, canvas=128, channels=3), classes=3)
    assert lines[0] == "chosen from the images: --data.canvas 128 --data.channels 3 --classes 3"
    assert lines[1].startswith("the network sees only 8x8 pixels of them")
    assert "--views.0.size --views.1.size" in lines[1]


def test_what_is_given_stays(photos: str) -> None:
    asked = on(photos, simclr.PRESETS["digits"])
    config, lines = fitted_to_images(asked, {"data.canvas", "classes"})
    assert config == on(photos, asked, channels=3)
    assert lines[0] == "chosen from the images: --data.channels 3"
    config, _ = fitted_to_images(replace(asked, classes=0), ["data.channels"])
    assert (config.data.canvas, config.data.channels, config.classes) == (128, 1, 0)  # a probe is not wanted


def test_presets_of_other_data_and_the_digits_themselves_stay(photos: str) -> None:
    for config in (simclr.PRESETS["digits"], on(photos, simclr.PRESETS["imagenet"])):
        assert fitted_to_images(config, []) == (config, [])


def test_small_images_fill_their_canvas(photos: str) -> None:
    for file in Path(photos).rglob("*.png"):
        Image.new("L", (9, 12)).save(file)
    asked = on(photos, autoencoder.PRESETS["digits"])
    config, lines = fitted_to_images(asked, [])
    assert config == on(photos, asked, canvas=12)
    assert lines == ["chosen from the images: --data.canvas 12 --data.channels 1"]
