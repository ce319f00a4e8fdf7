"""What an experiment on images shows at its end: probes beside an untrained encoder and raw pixels, and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import grain
import jax
import numpy as np
from etils import epath

from ssl_jax.evals.neighbours import nearest
from ssl_jax.evals.pictures import draw_grid, draw_map, draw_neighbours
from ssl_jax.evals.representation_report import Metrics, compare, write
from ssl_jax.method import Batch, Represent, Tree
from ssl_jax.training.experiment import Report, Represented
from ssl_jax.training.folder import writing
from ssl_jax.transforms.images import ViewConfig, plain_view, random_views

RAW_SIZE = 32
"""Images are shrunk to this many pixels a side where their raw pixels are probed beside what was learnt."""

SHOWN, NEIGHBOURS, MORE_VIEWS = 8, 8, 3
"""Images in a picture; neighbours of each; views of either kind of each."""


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
    if report.writes:
        with writing(plots):
            draw_views(report.data.heldout[-1]["heldout"], views, plots / "views.png", seed)
    probed = probed_images(report, probe_examples, seed)
    if probed is None:
        return
    train, test = probed
    sides = {
        "trained": (represent, report.variables),
        "random encoder": (represent, report.initial_variables()),
        "raw pixels": (raw_pixels, {"params": {}}),
    }
    seen = {
        name: [report.represent(function, variables, rows) for rows in (train, test)]
        for name, (function, variables) in sides.items()
    }
    if not report.writes:
        return
    metrics = compare_seen(seen, rows=probe_examples, seed=seed, log=report.log)
    fitted, scored = seen["trained"]
    with writing(report.folder):
        write(metrics, report.folder)
        draw_map(
            scored.features,
            scored.labels,
            report.data.details.classes,
            plots / "map.png",
            method="tsne",
            title="held-out images by what the encoder makes of them",
        )
        draw_found(train, test, fitted, scored, plots / "neighbours.png")


def probed_images(
    report: Report, examples: int, seed: int
) -> tuple[grain.MapDataset, grain.MapDataset] | None:
    """The labelled images to fit probes to and to score them with, at most so many of either: a seeded choice.

    None, with a word about it, where there are no labels.
    """
    if not report.data.labelled:
        report.log("no probes: these images have no labels; --data.probe_source names others that have")
        return None
    train, test = (some(report.data.labelled[side], examples, seed) for side in ("train", "heldout"))
    return train, test


def some(images: grain.MapDataset, most: int, seed: int) -> grain.MapDataset:
    """All the images, or a seeded choice of `most` where there are more."""
    return images.shuffle(seed=seed)[:most] if len(images) > most else images


def report_probes(
    report: Report,
    trained: Mapping[str, Represent],
    *,
    untrained: Represent | None = None,
    pixels: Represent = raw_pixels,
    probe_examples: int,
    seed: int,
) -> None:
    """Probes of what was learnt beside those of raw pixels, said and written; a word instead if there are no labels.

    trained: by name. untrained: of a network as it was before training, to stand beside them; None for none. pixels: of
    the images themselves. probe_examples: labelled images that probes are fitted to, at most; a seeded choice.
    """
    probed = probed_images(report, probe_examples, seed)
    if probed is None:
        return
    sides = {name: (represent, report.variables) for name, represent in trained.items()}
    if untrained:
        sides["untrained"] = (untrained, report.initial_variables())
    sides["raw pixels"] = (pixels, {"params": {}})
    seen = {name: [report.represent(*side, rows) for rows in probed] for name, side in sides.items()}
    if report.writes:
        found = compare_seen(seen, rows=probe_examples, seed=seed, log=report.log)
        with writing(report.folder):
            write(found, report.folder)


def compare_seen(seen: Mapping[str, Sequence[Represented]], **settings: Any) -> Metrics:
    """`compare` of (fitted, scored) representations of the same examples, by name."""
    banks = {name: (fitted.features, scored.features) for name, (fitted, scored) in seen.items()}
    fitted, scored = next(iter(seen.values()))
    return compare(banks, fitted.labels, scored.labels, **settings)


def draw_views(images: grain.MapDataset, views: Sequence[ViewConfig], file: epath.Path, seed: int) -> None:
    """The first images, as they are and in some of their views."""
    rows = [images[i] for i in range(min(SHOWN, len(images)))]
    batch = {name: np.stack([row[name] for row in rows]) for name in ("image", "extent")}
    keys = jax.random.split(jax.random.key(seed), (MORE_VIEWS, len(views)))
    # As one program each, or every operation is compiled by itself.
    plain, drawn = (
        jax.jit(plain_view, static_argnames="size"),
        jax.jit(random_views, static_argnames="config"),
    )
    columns = [plain(batch["image"], batch["extent"], size=views[0].size)]
    columns += [
        drawn(keys[more, number], batch["image"], batch["extent"], config=view)
        for more in range(MORE_VIEWS)
        for number, view in enumerate(views)
    ]
    names = [f"view {number + 1}" for number in range(len(views))] * MORE_VIEWS
    draw_grid(
        list(zip(*map(np.asarray, columns), strict=True)),
        file,
        columns=["image", *names],
        title="held-out images and random views of them",
    )


def draw_found(
    train: grain.MapDataset,
    test: grain.MapDataset,
    fitted: Represented,
    scored: Represented,
    file: epath.Path,
) -> None:
    """The first held-out images, and the training images that the encoder finds most alike."""
    queries = range(min(SHOWN, len(test)))
    found = nearest(fitted.features, scored.features[: len(queries)], min(NEIGHBOURS, len(train)))
    draw_neighbours(
        [_picture(test[i]) for i in queries],
        scored.labels[: len(queries)],
        [[_picture(train[int(i)]) for i in row] for row in found],
        fitted.labels[found],
        file,
        title="held-out images and the nearest training images",
    )


def _picture(example: Mapping[str, np.ndarray]) -> np.ndarray:
    height, width = example["extent"]
    return example["image"][:height, :width]
