"""Prepared images beside the images themselves. They are made here without Apache Beam, in random order."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_jax.data.encoded_images import QUALITY
from ssl_jax.data.image_source import Canvas
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.data.prepared import image_preparation, image_shards, manifest
from ssl_jax.data.prepared.reading import Prepared
from ssl_jax.errors import UserError
from ssl_jax.recipes.datasets import open_image_data
from tests.data.test_images_canvas import encoded, picture, scene
from tests.data.test_images_files import DAMAGED
from tests.data.test_prepared import Stop, Tasks, contents, times

CANVAS = 24


@pytest.fixture(autouse=True)
def tasks(monkeypatch) -> Tasks:
    made = Tasks()
    monkeypatch.setattr(image_preparation, "run_tasks", made.run)
    image_shards._splits.cache_clear()
    return made


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """40 pictures of two classes, in many formats; some fit the canvas, some are larger, and one lies on its side."""
    folder = tmp_path_factory.mktemp("photos")
    for name in ("cat", "dog"):
        (folder / name).mkdir()
        for number in range(20):
            size = ((16, 24), (9, 5), (60, 40), (200, 300))[number % 4]
            format = ("JPEG", "PNG", "WEBP", "GIF", "BMP")[number % 5]
            image = Image.fromarray(scene(*size))
            options = {}
            if format == "JPEG" and number % 2:
                options["exif"] = Image.Exif()
                options["exif"][0x0112] = 6
            (folder / name / f"{number:02d}.{format.lower()}").write_bytes(encoded(image, format, **options))
    return folder


def prepare(source: Path, output: Path, *, megabytes: float = 256, **fields) -> manifest.ImageManifest:
    config = ImageConfig(**{"source": str(source), "canvas": CANVAS, "channels": 3, **fields})
    what = image_preparation.ImagePreparation(str(output), config, megabytes)
    return image_preparation.prepare_images(what, [], lambda text: None)


def opened(folder: Path, **fields):
    return open_images(
        ImageConfig(**{"source": f"prepared:{folder}", "canvas": CANVAS, "channels": 3, **fields})
    )


def of(source: Path, **fields):
    return open_images(ImageConfig(**{"source": str(source), "canvas": CANVAS, "channels": 3, **fields}))


def splits(images) -> list:
    return [images.train, images.heldout, images.probe]


def assert_same_pictures(found, expected) -> None:
    """All of two sources: equal, but for what JPEG changes of the larger ones."""
    assert (len(found), found.classes) == (len(expected), expected.classes)
    for index in range(len(expected)):
        made, wanted = found[index], expected[index]
        assert made["label"] == wanted["label"]
        np.testing.assert_array_equal(made["extent"], wanted["extent"])
        before = expected.original(index)
        if max(before[:2]) <= CANVAS:
            np.testing.assert_array_equal(picture(made), picture(wanted))
        else:
            error = picture(made).astype(float) - picture(wanted)
            assert np.sqrt(np.square(error).mean()) < 3.5, index  # of 255: 37 dB


@pytest.mark.parametrize("fields", [{}, {"channels": 1}, {"heldout_share": 0.4}])
def test_a_run_sees_what_it_sees_of_the_images_themselves(photos, tmp_path, fields):
    made = prepare(photos, tmp_path / "out", megabytes=0.002, **fields)
    assert len(made["splits"]["train"]["shards"]) > 3
    read, plain = opened(tmp_path / "out", **fields), of(photos, **fields)
    for found, expected in zip(splits(read), splits(plain), strict=True):
        assert_same_pictures(found, expected)
    assert read.classes == plain.classes == ("cat", "dog")
    assert read.probe is read.train
    counts = {name: split["images"] for name, split in made["splits"].items()}
    assert counts == {"train": len(plain.train), "heldout": len(plain.heldout)}
    assert made["settings"]["quality"] == QUALITY
    sizes = [len(plain.train.read(i)[0]) for i in range(len(plain.train))]
    assert sum(len(read.train.read(i)[0]) for i in range(len(plain.train))) < sum(sizes)


def test_the_same_images_come_at_the_same_steps(photos, tmp_path):
    prepare(photos, tmp_path / "out", megabytes=0.002)
    both = [
        open_image_data(ImageConfig(source=source, canvas=CANVAS, channels=3), classes=2, seed=3)
        for source in (f"prepared:{tmp_path / 'out'}", str(photos))
    ]
    places = np.arange(70, 100)
    found, expected = (data.train[0].stack(places) for data in both)
    for name in ("label", "extent"):
        np.testing.assert_array_equal(found[name], expected[name])
    assert np.abs(found["image"].astype(int) - expected["image"]).mean() < 1
    assert both[0].preprocessing == both[1].preprocessing
    assert both[0].labelled.keys() == both[1].labelled.keys() == {"train", "heldout"}


def test_a_smaller_canvas_and_grey_are_made_of_what_is_stored(photos, tmp_path):
    prepare(photos, tmp_path / "out")
    read, plain = (
        each.train
        for each in (opened(tmp_path / "out", canvas=8, channels=1), of(photos, canvas=8, channels=1))
    )
    differences = [np.abs(read[i]["image"].astype(int) - plain[i]["image"]).mean() for i in range(len(plain))]
    assert max(differences) < 6
    larger = opened(tmp_path / "out", canvas=8)
    with pytest.raises(UserError, match="canvas of 24 pixels, and this run has one of 25"):
        larger.on(Canvas(25, 3))
    assert larger.on(Canvas(CANVAS, 3)).train[0]["image"].shape == (CANVAS, CANVAS, 3)


def test_splits_and_other_sources_are_those_of_the_images(photos, tmp_path):
    other = tmp_path / "other"
    for name in ("train/cat", "train/dog", "val/cat", "val/dog"):
        (other / name).mkdir(parents=True)
        (other / name / "1.png").write_bytes(encoded(Image.fromarray(scene(5, 5))))
    made = prepare(photos, tmp_path / "out", probe_source=str(other))
    assert {name: split["images"] for name, split in made["splits"].items()} == {
        "train": 40,
        "heldout": 2,
        "probe": 2,
    }
    read, plain = opened(tmp_path / "out"), of(photos, probe_source=str(other))
    for found, expected in zip(splits(read), splits(plain), strict=True):
        assert_same_pictures(found, expected)
    # A prepared folder may be one of several sources of a run, too.
    mixed = of(photos, heldout_source=f"prepared:{tmp_path / 'out'}")
    assert (len(mixed.train), len(mixed.heldout)) == (40, 2)


def test_an_interrupted_preparation_goes_on_and_keeps_what_is_finished(photos, tmp_path, tasks):
    prepare(photos, tmp_path / "whole", megabytes=0.001)
    out = tmp_path / "out"
    for tasks.left in (3, 4):
        before = times(out)
        with pytest.raises(Stop):
            prepare(photos, out, megabytes=0.001)
        assert not (out / manifest.FILE).exists()
        assert before.items() <= times(out).items()
        assert len(times(out)) > len(before)
    tasks.left = None
    prepare(photos, out, megabytes=0.001)
    assert contents(out) == contents(tmp_path / "whole")
    kept = times(out)
    broken, gone, *_ = sorted(out.glob("train-*"))
    content = bytearray(broken.read_bytes())
    content[100] ^= 1
    broken.write_bytes(content)
    gone.unlink()
    prepare(photos, out, megabytes=0.001)
    assert contents(out) == contents(tmp_path / "whole")
    assert {file for file, time in times(out).items() if time != kept[file]} == {broken, gone}


def test_a_folder_is_for_one_preparation(photos, tmp_path, tasks, monkeypatch):
    out = tmp_path / "out"
    tasks.left = 1
    with pytest.raises(Stop):
        prepare(photos, out)
    for message, fields in (
        (r"begun with other settings: canvas \(24 there, 32 here\).*another --output", {"canvas": 32}),
        (r"channels \(3 there, 1 here\)", {"channels": 1}),
        ("the images or how they are split", {"heldout_share": 0.4}),
    ):
        with pytest.raises(UserError, match=message):
            prepare(photos, out, **fields)
    monkeypatch.setattr(image_preparation.PIL, "__version__", "99.0")
    with pytest.raises(UserError, match=r"pillow \([\d.]+ there, 99.0 here\)"):
        prepare(photos, out)


def test_images_that_change_meanwhile_are_noticed(photos, tmp_path):
    config = ImageConfig(source=str(photos), canvas=CANVAS, channels=3)
    job = image_shards.ImageJob(str(tmp_path), config, (("train", "of other images"),))
    with pytest.raises(UserError, match="have changed since the preparation was started"):
        image_shards.write_image_shard(job, image_shards.ImageShard("train", "train.array_record", 0, 2))


def test_damaged_images_stop_it_or_are_left_out_and_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for number in range(6):
            (tmp_path / "in" / name / f"{number}.png").write_bytes(encoded(Image.fromarray(scene(9, 9))))
    plain = of(tmp_path / "in")
    damaged = {name: DAMAGED[name] for name in ("truncated.jpg", "empty.png")}
    damaged["fits.png"] = encoded(Image.fromarray(scene(20, 20)))[:300]
    for name, content in damaged.items():
        (tmp_path / "in" / "b" / name).write_bytes(content)
    with pytest.raises(UserError, match=r"cannot be read as an image.*skip"):
        prepare(tmp_path / "in", tmp_path / "out", megabytes=0.0002)
    made = prepare(tmp_path / "in", tmp_path / "out", megabytes=0.0002, unreadable="skip")
    shards = [shard for split in made["splits"].values() for shard in split["shards"]]
    left_out = [Path(name.strip("'")).name for shard in shards for name in shard["left_out"]]
    assert sorted(left_out) == sorted(damaged)
    read = opened(tmp_path / "out")
    assert len(read.train) + len(read.heldout) == len(plain.train) + len(plain.heldout) == 12


def test_what_cannot_be_read_says_why(photos, tmp_path):
    out = tmp_path / "out"
    made = prepare(photos, out, megabytes=0.002, channels=1)
    with pytest.raises(
        UserError, match=r"canvas of 24 pixels.*one of 32\. Give --data.canvas 24.*--canvas 32"
    ):
        opened(out, canvas=32, channels=1)
    with pytest.raises(
        UserError, match=r"prepared in grey, and this run has colour\. Give --data.channels 1"
    ):
        opened(out)
    with pytest.raises(UserError, match=re.escape(f"is a prepared folder; name it prepared:{out}.")):
        of(out)
    shard = out / made["splits"]["train"]["shards"][1]["name"]
    content = shard.read_bytes()
    shard.write_bytes(content[:100] + bytes(100) + content[200:])
    with pytest.raises(UserError, match=rf"{shard.name}: missing or damaged.*Run the command"):
        [
            example
            for source in splits(opened(out, channels=1))
            for example in map(source.read, range(len(source)))
        ]
    shard.write_bytes(content + b"more")
    with pytest.raises(UserError, match=rf"{shard.name}: has [\d,]+ bytes, not {len(content):,}"):
        opened(out, channels=1)
    shard.unlink()
    with pytest.raises(UserError, match=f"{shard.name}: is missing"):
        opened(out, channels=1)
    with pytest.raises(UserError, match="holds images; expected text"):
        Prepared(str(out))
    described = json.loads((out / manifest.FILE).read_text())
    described["settings"]["rows"] = "packed"
    (out / manifest.FILE).write_text(json.dumps(described))
    with pytest.raises(
        UserError, match=r"holds text; expected images\. Name a folder that .*prepare images has made"
    ):
        opened(out, channels=1)
    with pytest.raises(UserError, match=re.escape(f"'prepared:{tmp_path}': there is no manifest.json")):
        opened(tmp_path)


def test_images_in_memory_need_no_preparation(tmp_path):
    with pytest.raises(UserError, match=r"'digits': its images are pixels in memory.*tfds:NAME as --source"):
        prepare(Path("digits"), tmp_path / "out")
