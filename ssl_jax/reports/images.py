"""What reports on images share: choices of images, their pixels, baselines fitted to them, and rows of pictures."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import grain
import jax
import numpy as np

from ssl_jax.evals.pictures import draw_grid
from ssl_jax.evals.reconstruction import Pca, fit_pca
from ssl_jax.method import Batch, Extras, Represent, Tree
from ssl_jax.reports.files import save_plot
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import MapFunction
from ssl_jax.transforms.images import plain_view

RAW_SIZE = 32
"""Images are shrunk to this many pixels a side where their raw pixels are probed beside what was learnt."""
SHOWN = 8
"""Images in a picture."""
CANDIDATES = 128
"""Images among which those of a picture are chosen."""
MAPPED = 2000
"""Images in a map."""
PCA_NUMBERS = 2**28
"""PCA is fitted to all training images, or to as many as have this many numbers: 1 GB."""


def raw_pixels(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
    """The images themselves, `[batch, pixels]`, as a representation to compare with."""
    size = min(batch["image"].shape[1], RAW_SIZE)
    return flat(plain_view(batch["image"], batch["extent"], size))


def pixels_of(preprocess: Callable[[Batch], jax.Array]) -> Represent:
    """The representation of images by their pixels `[batch, pixels]` as a network receives them."""

    def pixels(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return flat(preprocess(batch))

    return pixels


def flat(images: jax.Array) -> jax.Array:
    """Pixels `[batch, pixels]` of `images [batch, height, width, channels]`."""
    return images.reshape(images.shape[0], -1)


def at_most(images: grain.MapDataset, count: int, seed: int) -> grain.MapDataset:
    """All images of a data set, or a seeded choice of so many where there are more."""
    return images.shuffle(seed=seed)[:count] if len(images) > count else images


def varied(labels: Sequence[int], count: int) -> list[int]:
    """The places of so many examples: a seeded choice that has as many classes, each as often, as it can.

    Example:
      >>> sorted([0, 0, 0, 0, 1, 2][place] for place in varied([0, 0, 0, 0, 1, 2], 4))
      [0, 0, 1, 2]
    """
    seen: Counter[int] = Counter()
    ranked = []
    for place in np.random.default_rng(0).permutation(len(labels)):
        label = int(labels[place])
        ranked.append((seen[label], int(place)))
        seen[label] += 1
    return [place for _, place in sorted(ranked, key=lambda pair: pair[0])[:count]]


def shown_images(images: grain.MapDataset) -> list[int]:
    """The places of the images of a picture: a seeded choice of several classes.

    Files are often sorted by class, so that the first images would be of one. To know the classes of a large set all of
    it would have to be read; the choice is among `CANDIDATES` images.
    """
    candidates = np.random.default_rng(0).permutation(len(images))[:CANDIDATES]
    labels = [int(images[int(place)].get("label", -1)) for place in candidates]
    return [int(candidates[place]) for place in varied(labels, SHOWN)]


def chosen(images: grain.MapDataset, places: Sequence[int]) -> grain.MapDataset:
    """The images at these places."""
    return grain.MapDataset.source([images[place] for place in places])


def training_pixels(report: Report, pixels: Represent, count: int, seed: int, *, baseline: str) -> np.ndarray:
    """Pixels of the training images that a baseline is fitted to, or of a choice of them, which the log then tells.

    Args:
      report: of the run.
      pixels: see `pixels_of`.
      count: images, at most.
      seed: of the choice.
      baseline: its name.

    Returns:
      float32 `[images, pixels]`.
    """
    images = grain.MapDataset.source(report.data.details.train)
    if len(images) > count:
        report.log(f"{baseline} is fitted to {count} of the {len(images)} training images")
    return report.map(pixels, at_most(images, count, seed), {"params": {}})


def fit_training_pca(
    report: Report, pixels: Represent, shape: Sequence[int], components: int, seed: int
) -> Pca:
    """PCA of the training images, or of some where they are many; see `training_pixels`.

    Args:
      report: of the run.
      pixels: see `pixels_of`.
      shape: of an image.
      components: of PCA.
      seed: of the choice of images and of PCA.
    """
    count = max(1, PCA_NUMBERS // math.prod(shape))
    return fit_pca(training_pixels(report, pixels, count, seed, baseline="PCA"), components, seed=seed)


def save_image_rows(
    report: Report,
    name: str,
    function: MapFunction,
    images: grain.MapDataset,
    *,
    columns: Sequence[str],
    title: str,
    variables: Tree = None,
) -> None:
    """Writes plots/NAME.png, which has a row of pictures for each of some images of several classes.

    Args:
      report: of the run.
      name: of the plot.
      function: `(params, extras, batch) -> pictures`, a list with an array `[batch, height, width, channels]` for each
        column.
      images: the data set.
      columns: their names.
      title: of the plot.
      variables: of the function; None for those of the model.
    """
    pictures = report.map(function, chosen(images, shown_images(images)), variables)
    save_plot(report, name, draw_grid(list(zip(*pictures, strict=True)), columns=columns, title=title))
