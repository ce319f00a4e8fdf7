"""What a user may get wrong with images: one paragraph on stderr that names it, exit code 2; and what just works."""

import math
import struct

import numpy as np
import pytest
from PIL import Image

from ssl_jax.training import metrics

SMALL = [
    "--encoder.blocks=1",
    "--encoder.width=8",
    "--encoder.stem=small",
    "--steps=2",
    "--schedule.warmup_steps=1",
    "--train.batch_size=16",
]
COLOURS = {"jitter": 0.8, "brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2, "grayscale": 0.2}


@pytest.fixture
def pictures(tmp_path):
    """An unlabelled folder of pictures of many sizes and modes."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    chance = np.random.default_rng(0)
    modes = ("RGB", "L", "RGBA", "P", "LA", "1", "CMYK")
    for i in range(40):
        height, width = chance.integers(1, 60, 2)
        picture = Image.fromarray(chance.integers(0, 256, (height, width, 3), dtype=np.uint8))
        mode = modes[i % len(modes)]
        picture.convert(mode).save(folder / f"{i:02}.{'tif' if mode == 'CMYK' else 'png'}")
    return folder


def test_unlabelled_pictures_of_all_kinds_in_gray_with_jitter_and_one_damaged(
    command, refused, pictures, tmp_path, caplog
):
    for i in range(6):  # as many as needed for one to be in the part that is trained on
        (pictures / f"broken{i}.png").write_bytes((pictures / "00.png").read_bytes()[:60])
    folder = tmp_path / "run"
    jitter = [f"--views.0.{name}={value}" for name, value in COLOURS.items()]
    source = [f"--data.source={pictures}", "--data.canvas=16", "--data.unreadable=skip", *jitter]
    code, out, error = command("rotation", *SMALL, *source, "--train.log_every=1", f"--workdir={folder}")
    assert (code, error) == (0, "")
    assert "no probes: these images have no labels; --data.probe_source" in out
    assert "broken0.png" in caplog.text
    assert "1 unreadable so far" in caplog.text
    log = metrics.read(folder)
    assert [(line["step"], line.get("split")) for line in log] == [(1, None), (2, None), (2, "heldout")]
    assert all(math.isfinite(line["rotation_loss"]) and "probe_loss" not in line for line in log)
    assert (folder / "plots" / "views.png").stat().st_size > 5000
    assert not (folder / "probes.json").exists()
    assert "its data have no labels, which a probe needs" in refused("ssl_jax.linear_eval", folder)


def test_a_damaged_picture_stops_the_run_and_is_named(refused, pictures, tmp_path):
    for file in pictures.iterdir():
        file.write_bytes(file.read_bytes()[:60])
    quick = ["--data.channels=3", "--views.0.flip=0", "--views.0.translate=0", "--classes=0"]
    error = refused("rotation", *SMALL, *quick, f"--data.source={pictures}", f"--workdir={tmp_path / 'run'}")
    assert f"{pictures}/" in error
    assert "cannot be read as an image" in error
    assert "--data.unreadable skip" in error


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("simclr", ["--train.batch_size=1"], "train.batch_size 1 in 1 micro-batches"),
        ("byol", ["--train.batch_size=2", "--train.micro_batches=2"], "at least 2 images at a time, not 1"),
        ("simclr", ["--train.batch_size=12"], "cannot be dealt out evenly"),
        ("moco", ["--queue=1000"], "queue 1000 must be a multiple of train.batch_size"),
        ("moco", ["--temperature=0"], "--temperature 0.0: expected"),
        ("dino", ["--temperatures", "0", "0.07"], "--temperatures 0.0: expected"),
        ("byol", ["--target.decay=2"], "--target.decay 2.0: expected"),
        ("simclr", ["--views.0.crop_area", "0.5", "0.2"], "views.crop_area 0.5 0.2"),
        ("simclr", ["--temperature=0"], "--temperature 0.0: expected"),
        ("rotation", ["--classes=5"], "classes 5: digits has 10 labels; give --classes 10"),
        ("image_classifier", ["--labels_per_class=500"], "labels_per_class 500: digits has only"),
        ("image_classifier", ["--classes=0"], "classes 0"),
        ("image_classifier", ["--classes=5"], "give --classes 10"),
        ("rotation", ["--data.source=/nowhere/pictures"], "/nowhere/pictures"),
        ("rotation", ["--data.source=nonsense:thing"], "nonsense:thing"),
        ("rotation", ["--data.source=tfds:no_such_thing"], "no_such_thing"),
    ],
)
def test_setting(refused, tmp_path, name, arguments, named):
    assert named in refused(name, *SMALL, *arguments, f"--workdir={tmp_path / 'run'}")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({}, "no images below this folder"),
        ({"notes.txt": b"x"}, "no images below this folder"),
        ({"one.png": b"x"}, "at least 2 are needed"),
        (
            {"train-images-idx3-ubyte": struct.pack(">4B3I", 0, 0, 8, 3, 100, 8, 8) + bytes(99 * 64)},
            "6,336 bytes after the header; expected 6,400 for its dimensions 100 x 8 x 8. It is truncated",
        ),
    ],
    ids=["empty", "none", "one", "truncated idx"],
)
def test_folder(refused, tmp_path, content, named):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(data)
    error = refused("rotation", *SMALL, f"--data.source={folder}", f"--workdir={tmp_path / 'run'}")
    assert named in error
    assert str(folder) in error


def test_labels_that_fine_tuning_misses(refused, pictures, tmp_path):
    error = refused("image_classifier", *SMALL, f"--data.source={pictures}", f"--workdir={tmp_path / 'run'}")
    assert f"labels are missing: the images of {pictures} have none" in error


def test_folders_that_linear_eval_cannot_use(command, refused, tmp_path):
    assert "not a run folder (it has no config.json)" in refused("ssl_jax.linear_eval", tmp_path)
    assert command("minimal", "--steps=1", f"--workdir={tmp_path / 'run'}")[0] == 0
    assert "its experiment defines no representation, which a probe needs" in refused(
        "ssl_jax.linear_eval", tmp_path / "run"
    )
