"""A folder of prepared data on gs://: made there, read there by ranges, and what is wrong with it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from etils import epath
from PIL import Image

from ssl_jax.data.images import ImageConfig, open_images
from ssl_jax.data.prepared import image_preparation, preparation
from ssl_jax.data.prepared.reading import Prepared
from ssl_jax.data.pretraining_text import bert_rows
from ssl_jax.data.text_config import CorpusConfig
from ssl_jax.errors import UserError
from tests.bucket import Storage
from tests.data.test_images_canvas import encoded
from tests.data.test_prepared import Tasks


@pytest.fixture
def made(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path | str]:
    """The same text prepared in a local folder and on gs://."""
    monkeypatch.setattr(preparation, "run_tasks", Tasks().run)
    (tmp_path / "text.txt").write_text("\n\n".join(f"Document {i}.\nAnd its end {i}." for i in range(200)))
    folders = [tmp_path / "out", "gs://bucket/out"]
    corpus = CorpusConfig(source=str(tmp_path / "text.txt"), tokenizer="bytes", heldout_share=0.2)
    for folder in folders:
        what = preparation.Preparation(str(folder), "packed", 16, corpus, 300, 0.0002)
        preparation.prepare_text(what, [], lambda text: None)
    return folders


def test_the_files_and_rows_are_those_of_a_local_folder(storage: Storage, made: list) -> None:
    local, remote = made
    files = {file.name: file.read_bytes() for file in Path(local).iterdir()}
    assert {name.removeprefix("out/"): storage.read(name) for name in storage.names("out/")} == files
    storage.requests.clear()
    read = Prepared(remote)
    assert len(list(Path(local).glob("rows-*"))) > 30 > len(storage.requests)  # it lists them once
    rows, expected = (bert_rows("none")(each, 16, each.tokenizer) for each in (read, Prepared(str(local))))
    storage.requests.clear()
    for row in (0, 1, 2):
        found = rows(row)
        for name, values in expected(row).items():
            np.testing.assert_array_equal(found[name], values)
    assert len(storage.requests) == 4  # a shard is opened with one request, and a row is read with one
    assert read.heldout()[1][3] == Prepared(str(local)).heldout()[1][3]


def test_what_is_missing_is_named(storage: Storage, made: list) -> None:
    shard = next(file for file in epath.Path(made[1]).iterdir() if file.name.startswith("rows-00001"))
    shard.unlink()
    with pytest.raises(UserError, match=f"gs://bucket/out/{shard.name}: is missing"):
        Prepared(made[1])
    with pytest.raises(UserError, match=r"prepared:gs://bucket/none'.*there is no manifest.json"):
        Prepared("gs://bucket/none")


def test_images_are_those_of_a_local_folder(storage: Storage, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(image_preparation, "run_tasks", Tasks().run)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 256, (300, 400, 3), np.uint8)
        content = encoded(Image.fromarray(noise), "JPEG", quality=95)
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(content)
    config = ImageConfig(source=str(tmp_path / "photos"), canvas=320, channels=3)
    folders = [tmp_path / "out", "gs://bucket/images"]
    for folder in folders:
        what = image_preparation.ImagePreparation(str(folder), config, 0.3)
        image_preparation.prepare_images(what, [], lambda text: None)
    files = {file.name: file.read_bytes() for file in folders[0].iterdir()}
    assert {name.removeprefix("images/"): storage.read(name) for name in storage.names("images/")} == files
    storage.requests.clear()
    remote, local = (
        open_images(dataclasses.replace(config, source=f"prepared:{folder}")).train for folder in folders
    )
    assert len(storage.requests) < 5
    storage.requests.clear()
    for index in (0, 1, 2):
        np.testing.assert_array_equal(remote[index]["image"], local[index]["image"])
    assert len(storage.requests) == 4  # a shard is opened with one request, and an image is read with one
