"""idx files, read back and refused."""

import contextlib
import gzip
import random
import re
import struct
import tracemalloc

import numpy as np
import pytest

from ssl_jax.data.idx import read_idx
from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.errors import UserError

RNG = np.random.default_rng(0)


def idx(array: np.ndarray) -> bytes:
    """The format as http://yann.lecun.com/exdb/mnist describes it."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def images(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, np.uint8)


def write_mnist(folder, *, train=12, test=5, suffix="", shape=(6, 5)):
    """Tiny files under MNIST's names; returns what they hold."""
    pack = gzip.compress if suffix else bytes
    parts = {}
    for name, count in (("train", train), ("t10k", test)):
        pixels, labels = images(count, *shape), np.arange(count, dtype=np.uint8) % 4
        (folder / f"{name}-images-idx{1 + len(shape)}-ubyte{suffix}").write_bytes(pack(idx(pixels)))
        (folder / f"{name}-labels-idx1-ubyte{suffix}").write_bytes(pack(idx(labels)))
        parts[name] = pixels, labels
    return parts


@pytest.mark.parametrize("shape", [(7,), (3, 4, 5), (2, 4, 5, 3)])
def test_values_come_back_compressed_or_not(tmp_path, shape):
    array = images(*shape)
    for name, data in (("plain", idx(array)), ("packed", gzip.compress(idx(array), mtime=0))):
        (tmp_path / name).write_bytes(data)
        np.testing.assert_array_equal(read_idx(tmp_path / name), array)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an idx file"),
        (
            b"\x89PNG\r\n\x1a\n",
            r"not an idx file; expected to begin with two zero bytes, found '89 50 4e 47'",
        ),
        (b"\0\0\x0d\1\0\0\0\0", "type 0x0d; expected unsigned bytes"),
        (b"\0\0\x08\3\0\0\0\1", "truncated within its 3 dimensions"),
        (
            idx(np.zeros((3, 4, 5)))[:-1],
            "59 bytes after the header; expected 60 for its dimensions 3 x 4 x 5. It is truncated",
        ),
        (idx(np.zeros((3, 4, 5))) + b"\0", "more bytes after the header; expected 60 .* too long"),
        (b"\0\0\x08\4" + b"\xff" * 16 + b"\0" * 9, "9 bytes after the header; expected 340,282,.*truncated"),
        (
            gzip.compress(b"\0\0\x08\2" + b"\0\1\0\0" * 2, mtime=0),
            "bytes of gzip; expected 4,294,967,296 .*truncated",
        ),
        (b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"\0", "expected 1 for its dimensions 1 x 1"),
        (gzip.compress(idx(np.zeros((3, 4, 5))), mtime=0)[:-9], "damaged gzip data"),
        (gzip.compress(idx(np.zeros(99)), mtime=0)[:10] + b"\xff" * 40, "damaged gzip data"),
    ],
)
def test_what_is_not_whole_is_refused_by_name(tmp_path, data, message):
    (tmp_path / "broken-file").write_bytes(data)
    with pytest.raises(UserError, match=f"broken-file'.*{message}"):
        read_idx(tmp_path / "broken-file")
    with pytest.raises(UserError, match=f"broken-file'.*{message}"):
        open_images(ImageConfig(source=str(tmp_path / "broken-file")))


@pytest.mark.parametrize("extra", [b"\0" * 50_000_000, b"\0" * 50])
def test_no_more_is_unpacked_than_the_header_says(tmp_path, extra):
    """A file of 50 kB that unpacks to 50 MB."""
    file = tmp_path / "bomb"
    file.write_bytes(gzip.compress(idx(np.zeros((3, 4, 5))) + extra, mtime=0))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"more bytes after the header; expected 60 .* too long"):
        read_idx(file)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_more_than_this_machine_has_is_not_read(tmp_path, monkeypatch):
    (tmp_path / "large").write_bytes(idx(np.zeros((3, 4, 5))))
    monkeypatch.setattr("ssl_jax.data.idx.physical_memory", lambda: 59)
    with pytest.raises(UserError, match="expected 60 for its dimensions 3 x 4 x 5"):
        read_idx(tmp_path / "large")


@pytest.mark.parametrize("packed", [False, True])
def test_any_damage_is_refused_or_changes_pixels_alone(tmp_path, packed):
    content, rng = idx(images(3, 4, 5)), random.Random(0)
    content = gzip.compress(content, mtime=0) if packed else content
    for _ in range(100):
        damaged = bytearray(content)
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "file").write_bytes(
            bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged))))])
        )
        with contextlib.suppress(UserError):
            assert read_idx(tmp_path / "file").size == 60


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_like_mnist(tmp_path, suffix):
    parts = write_mnist(tmp_path, suffix=suffix)
    splits = open_images(ImageConfig(source=str(tmp_path), canvas=8))
    assert splits.classes == splits.train.classes == ("0", "1", "2", "3")
    assert splits.probe is splits.train
    for source, (pixels, labels) in ((splits.train, parts["train"]), (splits.heldout, parts["t10k"])):
        assert len(source) == len(pixels)
        for i in range(len(source)):
            example = source[i]
            np.testing.assert_array_equal(example["image"][:6, :5, 0], pixels[i])
            assert example["image"].sum() == pixels[i].sum()
            assert (example["extent"].tolist(), example["label"]) == ([6, 5], labels[i])


def test_colour_images_and_conversions(tmp_path):
    pixels = write_mnist(tmp_path, shape=(6, 5, 3))["train"][0]
    colour = open_images(ImageConfig(source=str(tmp_path), channels=3)).train[2]["image"]
    np.testing.assert_array_equal(colour[:6, :5], pixels[2])
    gray = open_images(ImageConfig(source=str(tmp_path), channels=1)).train[2]["image"]
    luma = pixels[2] @ [0.299, 0.587, 0.114]  # ITU-R 601
    np.testing.assert_allclose(gray[:6, :5, 0], luma, atol=1)
    (tmp_path / "gray").mkdir()
    pixels = write_mnist(tmp_path / "gray")["train"][0]
    colour = open_images(ImageConfig(source=str(tmp_path / "gray"), channels=3)).train[2]["image"]
    np.testing.assert_array_equal(colour[:6, :5], np.repeat(pixels[2][..., None], 3, -1))


def test_one_file_finds_its_labels_and_its_test_images(tmp_path):
    write_mnist(tmp_path, suffix=".gz")
    splits = open_images(ImageConfig(source=str(tmp_path / "train-images-idx3-ubyte.gz")))
    assert (len(splits.train), len(splits.heldout)) == (12, 5)
    test = str(tmp_path / "t10k-images-idx3-ubyte.gz")
    exact = open_images(ImageConfig(source="digits", heldout_source=test))
    assert len(exact.heldout) == 5
    alone = open_images(ImageConfig(source=test, heldout_share=0.4))
    assert (len(alone.train), len(alone.heldout)) == (3, 2)
    parts = [[s[i]["image"].tobytes() for i in range(len(s))] for s in (alone.train, alone.heldout)]
    whole = [exact.heldout[i]["image"].tobytes() for i in range(5)]
    assert sorted(parts[0] + parts[1]) == sorted(whole)
    again = open_images(ImageConfig(source=test, heldout_share=0.4))
    assert again.identity == alone.identity


def test_without_labels(tmp_path):
    write_mnist(tmp_path)
    for labels in tmp_path.glob("*labels*"):
        labels.unlink()
    splits = open_images(ImageConfig(source=str(tmp_path)))
    assert splits.classes == splits.train.classes == ()
    assert splits.train[0]["label"] == -1


def test_the_fingerprint_follows_the_bytes(tmp_path):
    pixels = write_mnist(tmp_path)["train"][0]
    config = ImageConfig(source=str(tmp_path))
    first = open_images(config).identity
    assert open_images(config).identity == first
    pixels[3, 2, 1] ^= 1
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    second = open_images(config).identity
    assert second["train"] != first["train"]
    assert second["heldout"] == first["heldout"]
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.ones(12)))
    assert open_images(config).identity["train"] != second["train"]


def test_labels_that_do_not_fit(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(11)))
    with pytest.raises(
        UserError, match=r"train-labels-idx1-ubyte'.*dimensions 11; expected 12.*train-images"
    ):
        open_images(ImageConfig(source=str(tmp_path)))


@pytest.mark.parametrize("shape", [(3,), (2, 4, 4, 2), (0, 4, 4)])
def test_dimensions_that_are_none_of_images(tmp_path, shape):
    (tmp_path / "pixels").write_bytes(idx(np.zeros(shape)))
    with pytest.raises(UserError, match=re.escape("expected images x height x width")):
        open_images(ImageConfig(source=str(tmp_path / "pixels")))
