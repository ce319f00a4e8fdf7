"""Canvas, channels, sizes, network and classes are those for the user's images, unless they are given."""

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from experiments import autoencoder, simclr, vqvae
from ssl_jax.data import image_files
from ssl_jax.data.folders import list_files
from ssl_jax.recipes.datasets import opened_images
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


def fitted(module, source, given=(), preset="digits", **data):
    """The configuration that was asked for, that of the run, and the lines."""
    asked = on(source, module.PRESETS[preset], **data)
    return asked, *fitted_to_images(asked, given, module.PRESETS, preset)


def test_what_is_not_given_is_chosen(photos: str) -> None:
    """Network, sizes and training are those of the preset for 28x28 pixels; canvas, channels and classes are not."""
    _, config, lines = fitted(simclr, photos)
    assert config == replace(on(photos, simclr.PRESETS["mnist"], canvas=128, channels=3), classes=3)
    assert lines[0] == (
        "chosen from the images: --data.canvas 128 --data.channels 3 --classes 3 --views.0.size 28 --views.1.size 28"
    )
    assert lines[1].startswith(
        "as in the preset mnist, since they are larger than those of the preset digits: "
    )
    assert "--encoder.blocks 1 1 1 --encoder.stem small" in lines[1]
    assert lines[2].startswith(
        "the network sees 28x28 pixels of them; give --views.0.size --views.1.size for more"
    )


def test_what_is_given_stays(photos: str) -> None:
    small = simclr.PRESETS["digits"]
    given = {"data.canvas", "classes", "views.0.size", "views.1.size", "encoder.blocks"}
    _, config, lines = fitted(simclr, photos, given)
    larger = simclr.PRESETS["mnist"]
    assert config == replace(
        on(photos, larger, channels=3, canvas=8),
        views=tuple(replace(view, size=8, crop_area=(0.4, 1.0)) for view in small.views),
        encoder=replace(larger.encoder, blocks=(1, 1)),
    )
    assert lines[0] == "chosen from the images: --data.channels 3"
    changed = replace(small, classes=0, steps=7)  # by a file of settings
    config, _ = fitted_to_images(on(photos, changed), ["data.channels"], simclr.PRESETS, "digits")
    assert (config.data.canvas, config.data.channels, config.classes, config.steps) == (128, 1, 0, 7)


def test_presets_of_other_data_and_the_digits_themselves_stay(photos: str) -> None:
    for source, preset in (("digits", "digits"), (photos, "imagenet")):
        asked, config, lines = fitted(simclr, source, preset=preset)
        assert (config, lines) == (asked, [])


def redrawn(photos: str, size: tuple[int, int]) -> None:
    for file in Path(photos).rglob("*.png"):
        Image.new("L", size).save(file)


def test_images_that_are_hardly_larger_than_digits_are_seen_as_digits(photos: str) -> None:
    redrawn(photos, (9, 12))
    asked, config, lines = fitted(autoencoder, photos)
    assert config == on(photos, asked, canvas=12)
    assert lines == ["chosen from the images: --data.canvas 12 --data.channels 1"]


def test_whole_images_are_stored_with_the_pixels_that_the_network_sees(photos: str) -> None:
    """The middle 28x28 of 42x28; views, which are cut out at random, need more."""
    asked, config, lines = fitted(autoencoder, photos)
    assert config == on(photos, autoencoder.PRESETS["mnist"], canvas=42, channels=3)
    assert lines[0] == "chosen from the images: --data.canvas 42 --data.channels 3 --size 28"
    larger = replace(asked, size=64)
    config, _ = fitted_to_images(larger, ["size"], autoencoder.PRESETS, "digits")
    assert (config.size, config.data.canvas) == (64, 96)


@pytest.mark.parametrize("module", [autoencoder, vqvae], ids=["autoencoder", "vqvae"])
def test_small_images_are_seen_in_their_size(module, photos: str) -> None:
    """Which the strides of the network divide."""
    redrawn(photos, (23, 18))
    _, config, _ = fitted(module, photos)
    assert config == replace(on(photos, module.PRESETS["mnist"], canvas=23), size=20)
    module.build(config)


def test_the_folder_is_listed_once_and_the_run_has_its_canvas(photos: str, monkeypatch, capsys) -> None:
    listed = []
    monkeypatch.setattr(image_files, "list_files", lambda *which: listed.append(which) or list_files(*which))
    _, config, _ = fitted(simclr, photos)
    images = opened_images(config.data)
    assert len(listed) == 1
    assert images.train[0]["image"].shape == images.heldout[0]["image"].shape == (128, 128, 3)
    again = opened_images(config.data)
    assert len(listed) == 2
    assert images.identity == again.identity
    assert "they have 300x200 pixels in colour (the median of" in capsys.readouterr().out
