"""Folders of images: classes, splits, and files that are damaged."""

import logging
import re
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import grain
import numpy as np
import pytest
from PIL import Image

from ssl_jax.data import encoded_images
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.errors import UserError
from ssl_jax.recipes.datasets import open_image_data
from tests.data.test_images_canvas import encoded, scene
from tests.data.test_images_sources import evaluation_batches_of

DAMAGED = {
    "truncated.jpg": encoded(Image.fromarray(scene(60, 60)), "JPEG")[:800],
    "truncated.png": encoded(Image.fromarray(scene(60, 60)))[:300],
    "empty.png": b"",
    "text.gif": b"<html>404 not found</html>",
    "garbled.webp": encoded(Image.fromarray(scene(60, 60)), "WEBP")[:60],
    "program.tif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n",
}


def bomb(side: int = 60_000) -> bytes:
    """A PNG whose header promises 3.6 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.fixture
def write(tmp_path):
    """Writes gray pictures, each of one shade, or bytes, by name."""

    def write(contents: dict[str, int | bytes]) -> str:
        for name, value in contents.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            data = value if isinstance(value, bytes) else encoded(Image.new("L", (5, 4), value))
            path.write_bytes(data)
        return str(tmp_path)

    return write


def all_of(folder: str, **fields):
    """The whole of a folder without splits: nothing of it is held out."""
    return open_images(ImageConfig(source=folder, heldout_source=folder, **fields)).train


def shades(source) -> list[int]:
    return [int(source[i]["image"][0, 0, 0]) for i in range(len(source))]


def labels(source) -> list[int]:
    return [int(source[i]["label"]) for i in range(len(source))]


def test_subfolders_are_classes_in_the_order_of_names(write):
    files = {
        "7/1.png": 1,
        "0/deep/er/2.PNG": 2,
        "0/3.png": 3,
        "7/notes.txt": b"text",
        "7/._1.png": b"",
        ".x/y.png": 9,
    }
    source = all_of(write(files))
    assert source.classes == ("0", "7")
    assert (shades(source), labels(source)) == ([3, 2, 1], [0, 0, 1])


@pytest.mark.parametrize("prefix", ["", "only/"])
def test_a_flat_folder_and_a_single_subfolder_have_no_labels(write, prefix):
    source = all_of(write({f"{prefix}{i}.png": i for i in range(3)}))
    assert (source.classes, shades(source), labels(source)) == ((), [0, 1, 2], [-1] * 3)


def test_images_beside_classes_have_no_label(write):
    folder = write({"a/1.png": 1, "b/2.png": 2, "loose.png": 3})
    source = all_of(folder)
    assert (source.classes, labels(source)) == (("a", "b"), [0, 1, -1])


@pytest.mark.parametrize("held", ["val", "valid", "validation", "test", "Test", "DEV"])
def test_folders_named_for_their_split(write, held):
    folder = write({"train/a/1.png": 1, "train/b/2.png": 2, f"{held}/b/3.png": 3, "ignored.png": 4})
    splits = open_images(ImageConfig(source=folder))
    assert splits.classes == ("a", "b")
    assert (shades(splits.train), labels(splits.train)) == ([1, 2], [0, 1])
    assert (shades(splits.heldout), labels(splits.heldout)) == ([3], [1])
    exact = open_images(ImageConfig(source=f"{folder}/train", heldout_source=folder))
    assert shades(exact.heldout) == [3]


def test_a_flat_test_folder_gives_no_labels_and_an_alien_class_is_refused(write, tmp_path):
    folder = write({"train/a/1.png": 1, "train/b/2.png": 2, "test/3.png": 3})
    assert open_images(ImageConfig(source=folder)).classes == ()
    write({"val/c/4.png": 4})
    with pytest.raises(UserError, match=rf"{re.escape(folder)}/val': its class 'c' is missing in '.*train'"):
        open_images(ImageConfig(source=folder))


@pytest.mark.parametrize("test", ["train", "Train", "val", "test", "validation"])
def test_a_class_with_the_name_of_a_split_is_refused_and_used_within_train(write, test):
    """Otherwise the images of all other classes, or of this one, would not be used, without a word."""
    folder = write({f"{name}/1.png": i for i, name in enumerate(("bus", "car", test))})
    expected = rf"{re.escape(folder)}': {test}/ has the name of a split, and bus, car beside it have not\. .*move them"
    with pytest.raises(UserError, match=expected):
        open_images(ImageConfig(source=folder))
    within = {f"within/train/{name}/1.png": i for i, name in enumerate(("bus", "car", test))}
    splits = all_of(f"{write(within)}/within")
    assert (splits.classes, labels(splits)) == (tuple(sorted(("bus", "car", test))), [0, 1, 2])


def test_a_mixture_with_both_splits_is_refused_too(write):
    folder = write({"train/1.png": 1, "test/2.png": 2, "bus/3.png": 3})
    with pytest.raises(UserError, match=r"train/ has the name of a split, and bus beside it has not"):
        open_images(ImageConfig(source=folder))


def test_folders_without_images_and_masks_beside_the_splits_are_none(write, tmp_path):
    folder = write(
        {"train/1.png": 1, "train/2.png": 2, "test/3.png": 3, "ground_truth/a/3.png": 4, "notes/a.txt": b""}
    )
    splits = open_images(ImageConfig(source=folder))
    assert (shades(splits.train), shades(splits.heldout)) == ([1, 2], [3])
    (tmp_path / "classes").mkdir()
    write(
        {"classes/a/1.png": 1, "classes/b/2.png": 2, "classes/train/notes.txt": b"", "classes/.test/3.png": 3}
    )
    assert all_of(f"{folder}/classes").classes == ("a", "b")


@pytest.mark.parametrize("names", [("test",), ("val", "test")])
def test_held_out_images_alone_are_refused(write, names):
    folder = write({f"{name}/{i}.png": i for name in names for i in range(3)})
    with pytest.raises(
        UserError,
        match=rf"has {names[0]}/, which .* and no train/ with images beside it\. Name '.*/{names[0]}'",
    ):
        open_images(ImageConfig(source=folder))
    assert len(all_of(f"{folder}/{names[0]}")) == 3


def test_one_class_that_is_trained_on_and_others_that_are_held_out(write):
    """The layout of MVTec AD. The one class comes first, so that its label is the same in both."""
    files = {"train/good/1.png": 1, "train/good/2.png": 2, "test/good/3.png": 3, "test/crack/4.png": 4}
    splits = open_images(ImageConfig(source=write(files)))
    assert splits.classes == ("good", "crack")
    assert (shades(splits.train), labels(splits.train)) == ([1, 2], [0, 0])
    assert (shades(splits.heldout), labels(splits.heldout)) == ([4, 3], [1, 0])
    data = open_image_data(ImageConfig(source=write(files)), classes=10, seed=0)
    assert not data.labelled  # no probe can be fitted to one class


@pytest.mark.parametrize(
    ("train", "test", "classes"),
    [
        ("a/1.png", ("a/2.png",), ()),  # a single subfolder is no class
        ("a/1.png", ("b/2.png", "c/3.png"), ()),  # nor is it one of these
        ("1.png", ("a/2.png", "b/3.png"), ()),
        ("a/x/1.png", ("a/x/2.png", "b/y/3.png"), ("a", "b")),
    ],
)
def test_labels_need_a_class_in_both_splits(write, train, test, classes):
    folder = write({f"train/{train}": 1} | {f"test/{name}": 2 for name in test})
    assert open_images(ImageConfig(source=folder)).classes == classes


def test_train_alone_is_divided(write):
    splits = open_images(
        ImageConfig(source=write({f"train/{i}.png": i for i in range(20)}), heldout_share=0.3)
    )
    assert sorted(shades(splits.train) + shades(splits.heldout)) == list(range(20))


def test_held_out_by_a_hash_that_further_images_do_not_change(write):
    config = ImageConfig(source=write({f"{i % 2}/{i}.png": i for i in range(200)}), heldout_share=0.2)
    first = open_images(config)
    train, held = set(shades(first.train)), set(shades(first.heldout))
    assert train | held == set(range(200))
    assert not train & held
    assert 20 <= len(held) <= 60
    write({f"{i % 2}/{i}.png": i for i in range(200, 250)})
    more = open_images(config)
    assert train <= set(shades(more.train))
    assert held <= set(shades(more.heldout))
    assert more.identity["train"] != first.identity["train"]


def test_neither_side_is_empty(write):
    folder = write({"1.png": 1, "2.png": 2})
    for share in (0.001, 0.999):
        splits = open_images(ImageConfig(source=folder, heldout_share=share))
        assert (len(splits.train), len(splits.heldout)) == (1, 1)


def test_the_fingerprint_follows_names_and_sizes_and_not_the_place(write, tmp_path):
    names = {f"{i}.png": i for i in range(8)}
    write({f"one/{name}": value for name, value in names.items()})
    write({f"two/{name}": value for name, value in names.items()})
    one, two = (str(tmp_path / part) for part in ("one", "two"))
    first = open_images(ImageConfig(source=one)).identity
    assert open_images(ImageConfig(source=two)).identity == first
    (tmp_path / "two" / "3.png").rename(tmp_path / "two" / "33.png")
    assert open_images(ImageConfig(source=two)).identity != first
    write({"one/3.png": encoded(Image.new("L", (50, 40), 3))})
    assert open_images(ImageConfig(source=one)).identity != first


def test_mixed_sizes_modes_and_formats_fit_one_canvas(write):
    pictures = [Image.fromarray(scene(h, w)) for h, w in ((5, 9), (80, 30), (16, 16), (200, 300))]
    files = {f"{i}.png": encoded(picture) for i, picture in enumerate(pictures)}
    files |= {f"mode{m}.png": encoded(pictures[2].convert(m)) for m in ("RGBA", "P", "L", "LA", "1")}
    files |= {"j.jpeg": encoded(pictures[3], "JPEG"), "misnamed.jpg": encoded(pictures[0])}
    source = all_of(write(files), canvas=16, channels=3)
    examples = [source[i] for i in range(len(source))]
    assert len(examples) == 11
    assert {example["image"].shape for example in examples} == {(16, 16, 3)}
    assert (
        sorted(tuple(example["extent"]) for example in examples)
        == [(5, 9)] * 2 + [(11, 16)] * 2 + [(16, 6)] + [(16, 16)] * 6
    )


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_stops_and_is_named(write, name):
    folder = write({"0.png": 0, name: DAMAGED[name]})
    source = all_of(folder)
    with pytest.raises(
        UserError, match=rf"{re.escape(f'{folder}/{name}')}': cannot be read as an image \(.+\).*skip"
    ):
        source[1]
    with pytest.raises(UserError, match=re.escape(name)):
        list(evaluation_batches_of(source))


def test_a_bomb_is_not_unpacked(write):
    source = all_of(write({"bomb.png": bomb()}))
    with pytest.raises(UserError, match=r"bomb\.png.*exceeds limit"):
        source[0]


def test_damaged_files_are_skipped_and_told_of_once(write, caplog):
    folder = write({f"{i}.png": i for i in range(5)} | {f"2{name}": data for name, data in DAMAGED.items()})
    source = all_of(folder, unreadable="skip")
    order = sorted([*(f"{i}.png" for i in range(5)), *(f"2{name}" for name in DAMAGED)])
    wanted = [int(next(n[0] for n in order[i:] if n[1:] == ".png")) for i in range(len(order))]
    with caplog.at_level(logging.WARNING):
        backwards = [int(source[i]["image"][0, 0, 0]) for i in reversed(range(len(source)))]
        assert backwards[::-1] == wanted
        assert shades(source) == wanted
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == len(DAMAGED)
    assert all(sum(f"2{name}" in line for line in told) == 1 for name in DAMAGED)
    assert [line.rsplit("; ")[-1] for line in told] == [
        f"{n} unreadable so far" for n in range(1, len(told) + 1)
    ]
    last = all_of(folder, unreadable="skip")
    assert shades(last) == wanted


def test_after_the_last_comes_the_first(write):
    source = all_of(write({"0.png": 7, "1.png": b"", "2.png": b"x"}), unreadable="skip")
    assert shades(source) == [7, 7, 7]


def test_what_takes_the_place_of_a_damaged_file_is_on_its_side_of_the_split(write):
    files = {f"{i:02}.png": (b"" if i % 2 else i) for i in range(60)}
    splits = open_images(ImageConfig(source=write(files), heldout_share=0.3, unreadable="skip"))
    assert not set(shades(splits.train)) & set(shades(splits.heldout))


def test_a_folder_in_which_nothing_can_be_read(write):
    source = all_of(write({"0.png": b"", "1.png": b"x"}), unreadable="skip")
    with pytest.raises(UserError, match="none of its 2 images can be read"):
        source[1]


def test_a_file_that_vanished_is_never_skipped(write, tmp_path):
    source = all_of(write({"0.png": 0, "1.png": 1}), unreadable="skip")
    (tmp_path / "0.png").unlink()
    with pytest.raises(UserError, match=r"0\.png': cannot be read \(No such file or directory\)"):
        source[0]


def test_links_are_followed_and_circles_do_no_harm(write, tmp_path):
    write({"store/a/1.png": 1, "store/b/2.png": 2})
    (tmp_path / "links").mkdir()
    for name in "ab":
        (tmp_path / "links" / name).symlink_to(tmp_path / "store" / name)
    assert shades(all_of(str(tmp_path / "links"))) == [1, 2]
    for name in "cdef":  # each of which would lead to all of them again
        (tmp_path / "links" / name).symlink_to(tmp_path / "links")
    (tmp_path / "store" / "a" / "back").symlink_to(tmp_path / "links")
    assert shades(all_of(str(tmp_path / "links"))) == [1, 2]


def test_sources_with_different_classes(write, tmp_path):
    write({"one/a/1.png": 1, "one/b/2.png": 2, "two/a/1.png": 1, "two/c/2.png": 2, "none/1.png": 1})
    one, two, none = (str(tmp_path / part) for part in ("one", "two", "none"))
    for field in ("probe_source", "heldout_source"):
        with pytest.raises(
            UserError, match=r"different classes: label 1 is 'b' in the first and 'c' in the second"
        ):
            open_images(ImageConfig(source=one, **{field: two}))
    splits = open_images(ImageConfig(source=one, probe_source=none, heldout_source=one))
    assert splits.classes == ()
    splits = open_images(ImageConfig(source=none, probe_source=one, heldout_source=one))
    assert splits.classes == ("a", "b")


def test_threads_that_read_at_once_read_the_same(write, caplog):
    files = {f"{i:03}.jpg": encoded(Image.fromarray(scene(30 + i, 40)), "JPEG") for i in range(60)}
    files |= {f"{i:03}x.jpg": b"" for i in range(0, 60, 5)}
    folder = write(files)
    source = all_of(folder, canvas=16, channels=3, unreadable="skip")
    alone = [source[i]["image"] for i in range(len(source))]
    source = all_of(folder, canvas=16, channels=3, unreadable="skip")
    caplog.clear()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda i: source[i]["image"], list(range(len(source))) * 3))
    np.testing.assert_array_equal(together, alone * 3)
    assert len(caplog.records) == 12


def test_two_threads_that_meet_one_damaged_file_tell_of_it_once(write, caplog, monkeypatch):
    both_meet, real = threading.Barrier(2), encoded_images.decode

    def decode(data, *rest):
        if not data:
            both_meet.wait(timeout=10)
        return real(data, *rest)

    monkeypatch.setattr(encoded_images, "decode", decode)
    source = all_of(write({"0.png": b"", "1.png": 5}), unreadable="skip")
    with ThreadPoolExecutor(2) as pool:
        assert [int(e["image"][0, 0, 0]) for e in pool.map(source.__getitem__, [0, 0])] == [5, 5]
    assert len(caplog.records) == 1


def test_a_full_pass_through_the_loader(write):
    source = all_of(write({f"{i % 3}/{i:02}.png": i for i in range(50)}))
    batches = list(evaluation_batches_of(source))
    keep = np.concatenate([batch["example_weight"] for batch in batches]) > 0
    found = np.concatenate([batch["image"] for batch in batches])[keep]
    assert sorted(found[:, 0, 0, 0]) == list(range(50))
    assert (np.concatenate([batch["label"] for batch in batches])[keep] == found[:, 0, 0, 0] % 3).all()
    again = grain.MapDataset.source(source).shuffle(seed=1).repeat()
    np.testing.assert_array_equal(again[53]["image"], again[53]["image"])
