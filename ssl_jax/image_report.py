"""What an experiment on images shows at its end: probes beside an untrained encoder and raw pixels, and pictures."""

from collections.abc import Mapping, Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evals.neighbours import nearest
from ssl_jax.evals.pictures import draw_grid, draw_map
from ssl_jax.evals.representation_report import compare, write
from ssl_jax.method import Batch, Tree
from ssl_jax.training.experiment import Report, Represent
from ssl_jax.transforms.images import ViewConfig, plain_view, random_views

RAW_SIZE = 32
"""Images are shrunk to this many pixels a side where their raw pixels are probed beside what was learnt."""

SHOWN, NEIGHBOURS = 8, 8
"""Images in a picture of views, and in one of nearest neighbours; neighbours of each."""


def raw_pixels(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
    """[batch, pixels] of the images themselves, in the form of an experiment's `represent`."""
    size = min(batch["image"].shape[1], RAW_SIZE)
    images = plain_view(batch["image"], batch["extent"], size)
    return images.reshape(images.shape[0], -1)


def report_images(
    report: Report,
    represent: Represent,
    views: Sequence[ViewConfig],
    *,
    probe_examples: int,
    seed: int,
) -> None:
    """Probes of `represent`, a map and neighbours of the held-out images by it, and a grid of views.

    probe_examples: labelled images that probes are fitted to, at most; a seeded choice.
    """
    plots = report.folder / "plots"
    heldout = report.data.heldout[-1]["heldout"]
    if report.writes:
        draw_views(heldout, views, plots / "views.png", seed)
    labelled = report.data.labelled
    if not labelled:
        report.say("no probes: the images have no labels (data.probe_source names others)")
        return
    train, test = (
        dataset.shuffle(seed=seed)[:probe_examples] if len(dataset) > probe_examples else dataset
        for dataset in (labelled["train"], labelled["heldout"])
    )
    sides = {
        "trained": (represent, report.variables),
        "random encoder": (represent, report.initial_variables()),
        "raw pixels": (raw_pixels, {"params": {}}),
    }
    seen = {
        name: tuple(report.represent(function, variables, rows) for rows in (train, test))
        for name, (function, variables) in sides.items()
    }
    if not report.writes:
        return
    banks = {name: (fitted.features, scored.features) for name, (fitted, scored) in seen.items()}
    fitted, scored = seen["trained"]
    figures = compare(banks, fitted.labels, scored.labels, seed=seed, say=report.say)
    write(figures, report.folder)
    classes = report.data.details.classes
    draw_map(scored.features, scored.labels, classes, plots / "map.png")
    draw_neighbours(train, test, fitted.features, scored.features, plots / "neighbours.png")
