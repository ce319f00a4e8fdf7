"""What an experiment on views of images shows at its end: the views, probes, a map, and neighbours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import grain
import jax
import numpy as np

from ssl_jax.evals.neighbours import nearest
from ssl_jax.evals.pictures import draw_grid, draw_map, draw_neighbours
from ssl_jax.method import Represent
from ssl_jax.reports.files import save_plot
from ssl_jax.reports.images import SHOWN, shown_images, varied
from ssl_jax.reports.probes import RANDOM_INIT, RAW_PIXELS, Probed, probed_features, report_comparison
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.images import ViewConfig, plain_view, random_views

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NEIGHBOURS, MORE_VIEWS = 8, 3
"""Neighbours of each image in a picture; views of each kind of each image."""


def report_views(
    report: Report, represent: Represent, views: Sequence[ViewConfig], *, probe_examples: int, seed: int
) -> None:
    """Draws views, and what the representation makes of labelled images: probes, a map, and neighbours.

    Args:
      report: of the run.
      represent: the frozen representation.
      views: of the method.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of the choices and of the views.
    """
    if report.writes:
        save_plot(report, "views", draw_views(report.heldout["heldout"], views, seed))
    probed = probed_features(
        report, {"trained": represent}, random_init=represent, examples=probe_examples, seed=seed
    )
    if probed is None:
        return
    metrics = report_comparison(report, probed, probed.features, examples=probe_examples, seed=seed)
    report.baselines["probe_accuracy"] = {
        f"linear probe of {name}": metrics[name]["linear_probe"]
        for name in (RANDOM_INIT, RAW_PIXELS)
        if name in metrics
    }
    if not report.writes:
        return
    figure = draw_map(
        probed.features["trained"][1],
        probed.test_labels,
        report.data.details.classes,
        method="tsne",
        title="held-out images by their representation",
    )
    save_plot(report, "map", figure)
    save_plot(report, "neighbours", draw_nearest(probed, "trained"))


def draw_views(images: grain.MapDataset, views: Sequence[ViewConfig], seed: int) -> "Figure":
    """Images of several classes, without augmentation and in some of their views."""
    rows = [images[place] for place in shown_images(images)]
    batch = {name: np.stack([row[name] for row in rows]) for name in ("image", "extent")}
    keys = jax.random.split(jax.random.key(seed), (MORE_VIEWS, len(views)))
    # As one program each, or every operation is compiled by itself.
    plain = jax.jit(plain_view, static_argnames="size")
    random = jax.jit(random_views, static_argnames="config")
    columns = [plain(batch["image"], batch["extent"], size=views[0].size)]
    columns += [
        random(keys[more, number], batch["image"], batch["extent"], config=view)
        for more in range(MORE_VIEWS)
        for number, view in enumerate(views)
    ]
    names = [f"view {number + 1}" for number in range(len(views))] * MORE_VIEWS
    return draw_grid(
        list(zip(*map(np.asarray, columns), strict=True)),
        columns=["image", *names],
        title="held-out images and random views of them",
    )


def draw_nearest(probed: Probed, representation: str) -> "Figure":
    """Held-out images of several classes, and the training images nearest to each in the representation."""
    fitted, scored = probed.features[representation]
    queries = varied(probed.test_labels, SHOWN)
    found = nearest(fitted, scored[queries], min(NEIGHBOURS, len(probed.train)))
    return draw_neighbours(
        [_picture(probed.test[place]) for place in queries],
        probed.test_labels[queries],
        [[_picture(probed.train[int(i)]) for i in row] for row in found],
        probed.train_labels[found],
        title="held-out images and the nearest training images",
    )


def _picture(example: Mapping[str, np.ndarray]) -> np.ndarray:
    height, width = example["extent"]
    return example["image"][:height, :width]
