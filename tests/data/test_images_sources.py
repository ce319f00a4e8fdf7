"""Images by name: what is trained on, probed and held out, and what is refused."""

import grain
import numpy as np
import pytest
from sklearn.datasets import load_digits

from ssl_jax.data.images import ImageConfig, batch_shapes, open_images
from ssl_jax.errors import UserError
from ssl_jax.training.loading import evaluation_batches
from ssl_jax.training.sharding import MeshConfig, batch_sharding, make_mesh
from tests.data.test_idx import write_mnist


def test_digits_are_those_of_scikit_learn():
    images, labels = load_digits(return_X_y=True)
    splits = open_images(ImageConfig())
    assert (len(splits.train), len(splits.heldout)) == (1497, 300)
    assert splits.classes == tuple("0123456789")
    for source, rows in ((splits.heldout, np.arange(0, 1797, 6)), (splits.train, None)):
        rows = np.setdiff1d(np.arange(1797), np.arange(0, 1797, 6)) if rows is None else rows
        found = np.stack([source[i]["image"] for i in range(len(source))])
        np.testing.assert_array_equal(found[..., 0], np.rint(images[rows].reshape(-1, 8, 8) * 255 / 16))
        np.testing.assert_array_equal([source[i]["label"] for i in range(len(source))], labels[rows])
        assert source[0]["extent"].tolist() == [8, 8]


def test_shapes_are_known_without_data_and_true():
    config = ImageConfig(canvas=11, channels=3)
    shapes = batch_shapes(config, 16)
    batches = list(evaluation_batches_of(open_images(config).heldout))
    assert shapes["image"].shape == (16, 11, 11, 3)
    assert {**shapes, "example_weight": None}.keys() == batches[0].keys()
    for name, shape in shapes.items():
        assert (batches[0][name].shape, batches[0][name].dtype) == (shape.shape, shape.dtype)


def evaluation_batches_of(source):
    along = batch_sharding(make_mesh(MeshConfig(data=8, fsdp=1)))
    return evaluation_batches(grain.MapDataset.source(source), 16, along)


def test_a_full_pass_reads_every_image_once():
    heldout = open_images(ImageConfig()).heldout
    batches = list(evaluation_batches_of(heldout))
    keep = np.concatenate([batch["example_weight"] for batch in batches]) > 0
    assert keep.sum() == 300
    found = np.concatenate([batch["image"] for batch in batches])[keep]
    np.testing.assert_array_equal(found, np.stack([heldout[i]["image"] for i in range(300)]))


def test_other_sources_to_probe_and_to_hold_out(tmp_path):
    write_mnist(tmp_path)
    whole = open_images(ImageConfig(source=str(tmp_path)))
    held = open_images(ImageConfig(heldout_source=str(tmp_path)))
    assert (len(held.train), len(held.probe), len(held.heldout)) == (1497, 1497, 5)
    assert held.classes == tuple("0123456789")
    probe = open_images(ImageConfig(probe_source=str(tmp_path)))
    assert (len(probe.train), len(probe.probe), len(probe.heldout)) == (1497, 12, 5)
    assert probe.identity["probe"] == whole.identity["train"]
    assert probe.identity["heldout"] == whole.identity["heldout"]
    both = open_images(ImageConfig(probe_source=str(tmp_path), heldout_source="digits"))
    assert (len(both.probe), len(both.heldout)) == (12, 300)


def test_what_is_held_out_of_a_source_named_twice_is_not_trained_on(tmp_path):
    write_mnist(tmp_path)
    for file in tmp_path.glob("t10k*"):
        file.unlink()
    splits = open_images(ImageConfig(source=str(tmp_path), probe_source=str(tmp_path), heldout_share=0.25))
    assert splits.train is splits.probe
    assert (len(splits.train), len(splits.heldout)) == (9, 3)
    trained = {splits.train[i]["image"].tobytes() for i in range(9)}
    assert not trained & {splits.heldout[i]["image"].tobytes() for i in range(3)}


def test_one_image_cannot_be_divided(tmp_path):
    write_mnist(tmp_path, train=1)
    (tmp_path / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(UserError, match=r"1 image\(s\); at least 2 are needed.*--data.heldout_source"):
        open_images(ImageConfig(source=str(tmp_path)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": ""}, "source '': expected text"),
        ({"heldout_share": 0.0}, "heldout_share 0.0: expected"),
        ({"heldout_share": 1.0}, "heldout_share 1.0: expected"),
        ({"heldout_share": float("nan")}, "heldout_share nan: expected"),
        ({"canvas": 0}, "canvas 0: expected an integer from 1 to 4,096"),
        ({"canvas": 5000}, "canvas 5000: expected"),
        ({"channels": 4}, "channels 4: expected one of 1, 3"),
        ({"unreadable": "ignore"}, "unreadable 'ignore': expected one of stop, skip"),
    ],
)
def test_settings_that_make_no_sense(fields, message):
    with pytest.raises(UserError, match=message):
        ImageConfig(**fields)


@pytest.mark.parametrize("field", ["source", "heldout_source", "probe_source"])
def test_sources_that_are_not_there(tmp_path, field):
    with pytest.raises(UserError, match=r"absent': no such file or folder; expected 'digits', 'tfds:name"):
        open_images(ImageConfig(**{field: str(tmp_path / "absent")}))
    with pytest.raises(UserError, match=r"'hf:mnist': expected 'digits'"):
        open_images(ImageConfig(**{field: "hf:mnist"}))
    with pytest.raises(UserError, match="no images below this folder"):
        open_images(ImageConfig(**{field: str(tmp_path)}))


def test_one_pixel_is_a_canvas():
    example = open_images(ImageConfig(canvas=1)).train[0]
    assert example["image"].shape == (1, 1, 1)
    assert example["extent"].tolist() == [1, 1]
