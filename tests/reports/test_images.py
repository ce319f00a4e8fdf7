"""Which images are shown: a seeded choice of several classes, also where files are sorted by class."""

import grain
import numpy as np

from ssl_jax.reports.images import CANDIDATES, SHOWN, chosen, shown_images, varied


class Sorted:
    """1,000 images sorted by class, as in folders; it counts how many are read."""

    reads = 0

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        self.reads += 1
        return {"label": index // 100, "index": index}


def test_images_of_a_picture_are_of_several_classes():
    source = Sorted()
    images = grain.MapDataset.source(source)
    places = shown_images(images)
    assert len({place // 100 for place in places}) == SHOWN
    assert source.reads <= CANDIDATES
    assert places == shown_images(images)
    assert [row["index"] for row in (chosen(images, places)[i] for i in range(SHOWN))] == places


def test_few_images_and_images_without_labels():
    assert sorted(shown_images(grain.MapDataset.source([{"label": 1}] * 3))) == [0, 1, 2]
    assert len(set(shown_images(grain.MapDataset.source([{}] * 20)))) == SHOWN


def test_each_class_is_as_frequent_as_it_can_be():
    labels = np.repeat([0, 1, 2], [50, 50, 1])
    assert np.bincount(labels[varied(labels, 7)]).tolist() == [3, 3, 1]
