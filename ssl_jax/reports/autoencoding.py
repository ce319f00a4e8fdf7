"""What an experiment with autoencoders shows at its end: errors beside PCA's, probes of the codes, pictures."""

from collections.abc import Mapping, Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from ssl_jax.evals.pictures import draw_grid, draw_map
from ssl_jax.evals.reconstruction import (
    Pca,
    draw_by_size,
    fit_pca,
    pca_code,
    pca_rebuild,
    size_table,
)
from ssl_jax.evals.representation_report import DEVIATION, compare, write
from ssl_jax.method import Batch, Represent, Tree
from ssl_jax.methods.autoencoder import Family
from ssl_jax.reports.images import SHOWN, probed_images, some
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import write_json, writing

PCA_NUMBERS = 2**28
"""PCA is fitted to all training images, or to as many as have this many numbers: 1 GB."""

MAPPED = 2000
"""Images in a map."""


def report_code_sizes(
    report: Report, family: Family, sizes: Mapping[str, int], *, probe_examples: int, seed: int
) -> None:
    """Autoencoders of several code sizes beside PCA: held-out errors, few labels, reconstructions, and a map.

    sizes: the code size by name of the autoencoder, smallest first.
    """
    heldout = report.data.heldout[-1]["heldout"]
    pixels = pixels_of(family)
    pca = fit_training_pca(report, pixels, max(sizes.values()), seed)
    errors = _pca_errors(report, pixels, pca, heldout, [0, *sizes.values()])
    mean_image = errors.pop(0)
    by_method = {
        "autoencoder": {size: report.metrics["heldout"][f"{name}_error"] for name, size in sizes.items()},
        "PCA": errors,
    }
    report.log(f"held-out squared error of a pixel (and in % of the mean image's, {mean_image:.5f}):")
    for line in size_table(by_method, mean_image):
        report.log(line)
    plots = report.folder / "plots"
    if report.writes:
        write_json(report.folder / "code_sizes.json", {"mean image": mean_image, **by_method})
        with writing(plots):
            draw_by_size(
                by_method,
                plots / "error_by_code_size.png",
                title="held-out images rebuilt from their code",
                figure="mean squared error of a pixel",
            )
    _draw_rebuilt(report, family, pca, sizes, heldout, plots / "reconstructions.png")
    _draw_maps(report, family, pixels, pca, sizes, heldout, seed)
    _probe_sizes(report, family, pixels, pca, sizes, probe_examples, seed)


def pixels_of(family: Family) -> Represent:
    """The images as the autoencoders see them, flat: `(params, extras, batch) -> [batch, pixels]`."""

    def pixels(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        images = family.preprocess(batch)
        return images.reshape(images.shape[0], -1)

    return pixels


def fit_training_pca(report: Report, pixels: Represent, components: int, seed: int) -> Pca:
    """PCA of the images that the autoencoders are trained on, or, where they are too many, of some: it says so."""
    images = grain.MapDataset.source(report.data.details.train)
    first = report.represent(pixels, {"params": {}}, images[:1]).features
    most = max(1, PCA_NUMBERS // first.shape[1])
    if len(images) > most:
        report.log(f"PCA is fitted to {most} of the {len(images)} training images")
        images = images.shuffle(seed=seed)[:most]
    return fit_pca(report.represent(pixels, {"params": {}}, images).features, components, seed=seed)


def _pca_errors(
    report: Report, pixels: Represent, pca: Pca, images: grain.MapDataset, sizes: Sequence[int]
) -> dict[int, float]:
    """Mean squared error of a pixel, by the number of components."""

    def errors(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen, fitted = pixels(params, extras, batch), Pca(**params)
        return jnp.stack([jnp.square(pca_rebuild(fitted, seen, size) - seen).mean(-1) for size in sizes], -1)

    found = report.represent(errors, {"params": pca._asdict()}, images).features
    return dict(zip(sizes, found.mean(0, dtype=np.float64).tolist(), strict=True))


def _draw_rebuilt(
    report: Report,
    family: Family,
    pca: Pca,
    sizes: Mapping[str, int],
    images: grain.MapDataset,
    file: epath.Path,
) -> None:
    """The first held-out images, and what each code size leaves of them."""

    def columns(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen, fitted = family.preprocess(batch), Pca(**extras["pca"])
        flat = seen.reshape(seen.shape[0], -1)
        shown = [seen]
        for name, size in sizes.items():
            shown += [family.rebuild[name](params, seen), pca_rebuild(fitted, flat, size).reshape(seen.shape)]
        return jnp.stack(shown, 1)

    names = [f"{kind} {size}" for size in sizes.values() for kind in ("code", "PCA")]
    draw_columns(
        report,
        columns,
        {**report.variables, "pca": pca._asdict()},
        images,
        family.shape,
        ["image", *names],
        file,
        "held-out images, and what is rebuilt from so many numbers",
    )


def draw_columns(
    report: Report,
    columns: Represent,
    variables: Mapping[str, Tree],
    images: grain.MapDataset,
    shape: Sequence[int],
    names: Sequence[str],
    file: epath.Path,
    title: str,
) -> None:
    """A row for each of the first images: what `columns` returns of it, `[batch, columns, height, width, channels]`."""
    rows = images[: min(SHOWN, len(images))]

    def flat(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        pictures = columns(params, extras, batch)
        return pictures.reshape(pictures.shape[0], -1)

    found = report.represent(flat, variables, rows).features
    if report.writes:
        with writing(file.parent):
            draw_grid(
                [list(row.reshape(len(names), *shape)) for row in found], file, columns=names, title=title
            )


def _draw_maps(
    report: Report,
    family: Family,
    pixels: Represent,
    pca: Pca,
    sizes: Mapping[str, int],
    images: grain.MapDataset,
    seed: int,
) -> None:
    """The smallest code of two numbers or more, as it is where it has two, and PCA's first two beside it."""
    wide = [(size, name) for name, size in sizes.items() if size >= 2]
    if not wide:
        return
    size, name = min(wide)
    rows = some(images, MAPPED, seed)
    codes = report.represent(family.encode[name], report.variables, rows)
    seen = report.represent(pixels, {"params": {}}, rows)
    if not report.writes:
        return
    classes, plots = report.data.details.classes, report.folder / "plots"
    with writing(plots):
        draw_map(
            codes.features,
            codes.labels,
            classes,
            plots / "map.png",
            method="plane" if size == 2 else "tsne",
            title=f"held-out images by their code of {size} numbers",
        )
        if size == 2:
            draw_map(
                np.asarray(pca_code(pca, seen.features, 2)),
                seen.labels,
                classes,
                plots / "map_pca.png",
                method="plane",
                title="the same images by two principal components",
            )


def _probe_sizes(
    report: Report,
    family: Family,
    pixels: Represent,
    pca: Pca,
    sizes: Mapping[str, int],
    probe_examples: int,
    seed: int,
) -> None:
    """What a few labels make of the codes, of as many principal components, and of the pixels."""
    probed = probed_images(report, probe_examples, seed)
    if probed is None:
        return

    def codes(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        return jnp.concatenate([family.encode[name](params, extras, batch) for name in sizes], -1)

    learned = [report.represent(codes, report.variables, rows) for rows in probed]
    largest = list(sizes)[-1]
    untrained = report.initial_variables()
    random = [report.represent(family.encode[largest], untrained, rows) for rows in probed]
    raw = [report.represent(pixels, {"params": {}}, rows) for rows in probed]
    if not report.writes:
        return
    ends = np.cumsum([0, *sizes.values()])
    banks = {}
    for place, size in enumerate(sizes.values()):
        banks[f"code of {size}"] = tuple(x.features[:, ends[place] : ends[place + 1]] for x in learned)
        banks[f"PCA of {size}"] = tuple(np.asarray(pca_code(pca, x.features, size)) for x in raw)
    banks["untrained code"] = tuple(x.features for x in random)
    banks["raw pixels"] = tuple(x.features for x in raw)
    metrics = compare(banks, raw[0].labels, raw[1].labels, rows=probe_examples, seed=seed, log=report.log)
    with writing(report.folder):
        write(metrics, report.folder, bars=False)
    figure = "probe_10_per_class"
    if figure not in metrics.get("raw pixels", {}):
        return

    def curves(name: str) -> dict[str, dict[int, float]]:
        return {
            kind: {size: metrics[f"{prefix} of {size}"][name] for size in sizes.values()}
            for kind, prefix in (("code of the autoencoder", "code"), ("PCA", "PCA"))
        }

    with writing(report.folder):
        draw_by_size(
            curves(figure),
            report.folder / "plots" / "probe_by_code_size.png",
            title="linear probe, 10 labels a class (whiskers: over draws of them)",
            figure="held-out accuracy",
            levels={name: metrics[name][figure] for name in ("raw pixels", "untrained code")},
            deviations=curves(figure + DEVIATION),
            share=True,
        )
