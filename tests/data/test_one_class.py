"""Normal images are trained on and no others."""

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.image_source import Canvas, ImageArrays
from ssl_jax.data.images import ImageSplits
from ssl_jax.data.one_class import heldout_images, split_one_class, validation_needed
from ssl_jax.errors import UserError
from ssl_jax.evals.anomaly import alarm_threshold
from ssl_jax.training.loading import training_batches

CLASSES = ("cat", "dog", "eel")
SETTINGS = {"detectors": 3, "validation_share": 0.4, "false_alarm_rate": 0.25, "seed": 0}


def images(labels, first=0, classes=CLASSES):
    """Pictures that all differ, as their four pixels count."""
    pixels = np.arange(first, first + len(labels), dtype=np.uint8)[:, None, None, None]
    pixels = np.broadcast_to(pixels, (len(labels), 2, 2, 1)).copy()
    return ImageArrays("animals", pixels, np.array(labels, np.int32), classes, Canvas(2, 1))


def splits(train, heldout=(0, 1, 2, -1, 2), classes=CLASSES):
    """As `open_images` gives them."""
    source, held = images(train, classes=classes), images(heldout, first=100, classes=classes)
    return ImageSplits(source, source, held, classes, {"train": source.fingerprint})


def numbers(source):
    return {int(source[i]["image"].flat[0]) for i in range(len(source))}


@pytest.mark.parametrize(
    ("normal", "names", "sets"),
    [((), CLASSES, ((0,), (1,), (2,))), (("eel", "cat"), ("eel cat",), ((0, 2),))],
)
def test_no_anomaly_is_in_a_batch(normal, names, sets):
    labels = np.resize([0, 1, 2, -1, 2, 0, 1], 84)
    found = split_one_class(splits(labels), normal, **SETTINGS)
    assert found.names == names
    dataset = EndlessImages(found.train, seed=3)
    one = NamedSharding(jax.make_mesh((1,), ("data",), devices=jax.devices()[:1]), PartitionSpec("data"))
    batches = [jax.device_get(batch) for batch in training_batches(dataset, 8, one, range(15))]
    for place, allowed in enumerate(sets):
        shown = np.concatenate([batch["image"][:, place].reshape(8, -1)[:, 0] for batch in batches])
        train, validation = (numbers(part[place]) for part in (found.train, found.validation))
        assert set(shown) == train  # all of them, after so many steps
        assert not train & validation
        assert train | validation == {i for i, label in enumerate(labels) if label in allowed}
        assert {int(labels[i]) for i in shown} == set(allowed)
        assert len(validation) == round(0.4 * (len(train) + len(validation)))
    first, again = (dataset[5]["image"] for _ in range(2))
    assert np.array_equal(first, again)


def test_held_out_images_say_to_whom_they_are_normal():
    found = split_one_class(splits(np.resize([0, 1, 2], 60)), (), **SETTINGS)
    rows = heldout_images(found)
    assert len(rows) == 4  # one has no label
    for i in range(4):
        wanted = np.eye(3, dtype=np.float32)[int(rows[i]["label"])]
        np.testing.assert_array_equal(rows[i]["normal"], wanted)


@pytest.mark.parametrize("rate", [0.5, 0.25, 0.1, 0.05, 0.03, 0.01])
def test_as_many_are_needed_as_a_threshold_takes(rate):
    needed = validation_needed(rate)
    alarm_threshold(np.arange(needed), rate)
    with pytest.raises(UserError, match="cannot be had"):
        alarm_threshold(np.arange(needed - 1), rate)


@pytest.mark.parametrize(("images", "held"), [(200, 40), (95, 19), (40, 19), (38, 19)])
def test_a_few_images_give_as_many_as_the_rate_needs(images, held):
    settings = {**SETTINGS, "detectors": 1, "validation_share": 0.2, "false_alarm_rate": 0.05}
    found = split_one_class(splits(np.repeat([0, 1], images)), ("cat",), **settings)
    assert [len(part) for part in (*found.train, *found.validation)] == [images - held, held]


@pytest.mark.parametrize(
    ("train", "heldout", "normal", "named"),
    [
        ([0, 1] * 9, [0, 1, 2], ("eel",), "no training image of it; it has images of: cat, dog"),
        ([0, 1] * 9, [0, 1, 2], ("cow",), "normal cow: no such class; there are: cat, dog, eel"),
        (
            [0, 1, 1, 1, 2],
            [0, 1, 2],
            ("cat",),
            "normal cat: of 1 normal images, 0 are for choosing the threshold",
        ),
        ([0] * 5, [0, 1, 2], ("cat",), "normal cat: of 5 normal images, 2 are for choosing the threshold"),
        ([0, 1, 2] * 9, [1, 2], ("cat",), "of the 2 held-out images, none are normal"),
        ([0, 1, 2] * 9, [0, 0], ("cat",), "of the 2 held-out images, all are normal"),
        ([0, 1, 2] * 9, [0, 1, 2], CLASSES, "all are normal"),
        ([-1, -1], [0, 1], ("cat",), "these images have no labels"),
        ([0, 1], [-1], ("cat",), "these images have no labels"),
    ],
)
def test_what_cannot_be_told_apart(train, heldout, normal, named):
    with pytest.raises(UserError, match=named):
        split_one_class(splits(train, heldout), normal, **SETTINGS)


def test_another_number_of_classes():
    with pytest.raises(UserError, match="classes 4: animals has 3; give --classes 3"):
        split_one_class(splits([0, 1, 2] * 9), (), **{**SETTINGS, "detectors": 4})


def test_sources_without_classes():
    with pytest.raises(UserError, match="no labels"):
        split_one_class(splits([-1] * 4, [-1] * 2, classes=()), (), **SETTINGS)
