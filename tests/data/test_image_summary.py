"""What a run says of the images that it has found."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_jax.data.image_summary import describe_images
from ssl_jax.data.images import ImageConfig, open_images


def folder(path: Path, size: tuple[int, int], mode: str = "RGB", number: int = 20) -> Path:
    """Images of two classes."""
    for index in range(number):
        file = path / ("cat", "dog")[index % 2] / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(file)
    return path


def lines(source: object, **settings: object) -> list[str]:
    config = ImageConfig(source=str(source), **settings)
    return list(describe_images(config, open_images(config)))


def test_large_pictures_in_a_small_grey_canvas_are_warned_of(tmp_path: Path) -> None:
    found, sizes, warning = lines(folder(tmp_path, (300, 200)), heldout_share=0.2)
    held = int(found.partition(" training and ")[2].partition(" ")[0])
    assert found == (
        f"{tmp_path}: {20 - held} training and {held} held-out images ({held / 20:.0%} of all), 2 classes (cat, dog)"
    )
    looked = 20 - held
    assert sizes == (
        f"they have 300x200 pixels in colour (the median of {looked} looked at), and are stored with 8x5 in grey"
    )
    assert warning.startswith(
        "warning: little of these images is left. Give --data.canvas 300 --data.channels 3, and views"
    )


@pytest.mark.parametrize(
    ("settings", "mode", "count"),
    [
        ({"canvas": 300, "channels": 3}, "RGB", 1),  # all is kept
        ({"canvas": 200, "channels": 3}, "RGB", 2),  # shrunk a little
        ({"canvas": 300, "channels": 1}, "RGB", 3),  # the colours are lost
        ({"canvas": 300, "channels": 1}, "L", 1),
        ({"canvas": 70, "channels": 3}, "L", 3),
    ],
)
def test_the_warning_is_of_what_is_lost(
    settings: dict[str, int], mode: str, count: int, tmp_path: Path
) -> None:
    assert len(lines(folder(tmp_path, (300, 200), mode), **settings)) == count


def test_images_without_classes_and_damaged_ones(tmp_path: Path) -> None:
    for number in range(10):
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / f"{number}.png")
    for number in range(5):
        (tmp_path / f"damaged{number}.png").write_bytes(b"x")
    first, second = lines(tmp_path)
    assert first.endswith("no classes")
    assert "9x9 pixels (the median of " in second


def test_a_photograph_on_its_side_is_turned_before_it_is_measured(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(4):
        Image.new("RGB", (30, 20)).save(tmp_path / f"{number}.jpg", exif=exif)
    assert "they have 20x30 pixels in colour" in lines(tmp_path)[1]


def test_the_embedded_digits_fit() -> None:
    assert lines("digits") == [
        "digits: 1,497 training and 300 held-out images (17% of all), 10 classes (0, 1, 2, 3, 4, ...)"
    ]
