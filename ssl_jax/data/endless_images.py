"""Training images without end, in shuffled order, many at a time."""

import functools

import numpy as np

from ssl_jax.data.endless import Endless
from ssl_jax.data.image_source import Example, ImageSource, read_at_once, read_images
from ssl_jax.data.image_workers import ImageWorkers
from ssl_jax.data.shuffled_order import ShuffledOrder


class EndlessImages(Endless):
    """What `grain.MapDataset.source(images).seed(seed).shuffle().repeat()` has, and quick to read in batches.

    Small images in memory take less time to read one by one than to be passed through Grain, which is then most of the
    time of training a small model on a CPU.

    Args:
      images: an example is one of them; or, of several sources, one of each, in arrays with a leading axis for them.
      seed: of the order.
      processes: that read the images for this one, at most; 0 for none. Images in memory need none.
    """

    def __init__(self, images: ImageSource | tuple[ImageSource, ...], seed: int, processes: int = 0) -> None:
        super().__init__()
        self._single = not isinstance(images, tuple)
        self._sources = (images,) if self._single else images
        self.at_once = all(map(read_at_once, self._sources))
        self._orders = [ShuffledOrder(len(source), seed) for source in self._sources]
        if processes and not self.at_once:
            self._readers = [ImageWorkers(source, processes).read for source in self._sources]
        else:
            self._readers = [functools.partial(read_images, source) for source in self._sources]

    def stack(self, places: np.ndarray) -> Example:
        read = [reader(order[places]) for reader, order in zip(self._readers, self._orders, strict=True)]
        if self._single:
            return read[0]
        return {name: np.stack([images[name] for images in read], 1) for name in read[0]}
