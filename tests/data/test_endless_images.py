"""The order of training images is Grain's, however many are read at once."""

import grain
import numpy as np
import pytest

from ssl_jax.data.endless_images import EndlessImages
from ssl_jax.data.image_source import Canvas, ImageArrays, Rows
from ssl_jax.data.shuffled_order import ShuffledOrder


@pytest.mark.parametrize("count", [1, 2, 3, 1437, 65_535, 65_536, 65_537])
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_places_have_the_examples_that_grain_gives_them(count, seed):
    theirs = grain.MapDataset.range(count).seed(seed).shuffle().repeat()
    places = np.concatenate([start + np.arange(20) for start in (0, max(0, count - 10), 5 * count)])
    ours = ShuffledOrder(count, seed)[places]
    assert ours.tolist() == [theirs[int(place)] % count for place in places]


def test_each_epoch_has_every_example_once_and_an_order_of_its_own():
    order = ShuffledOrder(1437, 0)
    first, second = order[np.arange(1437)], order[np.arange(1437, 2 * 1437)]
    assert sorted(first) == sorted(second) == list(range(1437))
    assert (first != second).mean() > 0.99


def images(count, side=5, canvas=6):
    pixels = np.random.default_rng(count).integers(0, 256, (count, side, side, 1), np.uint8)
    return ImageArrays("some", pixels, np.arange(count) % 3, ("a", "b", "c"), Canvas(canvas, 1))


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        np.testing.assert_array_equal(ours[name], array)
        assert ours[name].dtype == array.dtype


@pytest.mark.parametrize("canvas", [6, 4], ids=["as they are", "shrunk"])
def test_images_are_those_of_grain(canvas):
    source = Rows(images(11, canvas=canvas), np.array([0, 2, 3, 8, 10]))
    ours = EndlessImages(source, 3)
    theirs = grain.MapDataset.source(source).seed(3).shuffle().repeat()
    places = np.arange(3, 14)
    stacked = ours.stack(places)
    for row, place in enumerate(places):
        assert_same(ours[int(place)], theirs[int(place)])
        assert_same({name: array[row] for name, array in stacked.items()}, theirs[int(place)])
    assert len(ours) == len(theirs)
    assert_same(ours[4:9][0], theirs[4])


@pytest.mark.parametrize(("canvas", "at_once"), [(6, True), (4, False)], ids=["as they are", "shrunk"])
def test_only_images_that_need_no_work_are_read_at_once(canvas, at_once):
    source = Rows(images(11, canvas=canvas), np.arange(5))
    assert EndlessImages(source, 3).at_once == at_once
    assert not EndlessImages((images(11), [source[0]]), 3).at_once


@pytest.mark.parametrize("counts", [(4, 7), (4,)])
def test_several_sources_stand_side_by_side(counts):
    sources = tuple(images(count) for count in counts)
    example = EndlessImages(sources, 0)[5]
    for number, source in enumerate(sources):
        alone = EndlessImages(source, 0)[5]
        assert_same({name: array[number] for name, array in example.items()}, alone)
