"""What autoencoders of several code sizes show at the end of a run: errors beside PCA's, probes, pictures."""

from collections.abc import Mapping

import grain
import jax
import numpy as np

from ssl_jax.evals.pictures import draw_map
from ssl_jax.evals.probe_comparison import DEVIATION
from ssl_jax.evals.reconstruction import Pca, draw_by_size, pca_code, pca_errors, pca_reconstruction
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.autoencoder import Family
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import MAPPED, at_most, fit_training_pca, flat, pixels_of, save_image_rows
from ssl_jax.reports.probes import RANDOM_INIT, RAW_PIXELS, probed_features, report_comparison
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import with_labels

FEW_LABELS = "probe_10_per_class"
"""The metric that is drawn by code size."""


def report_code_sizes(
    report: Report, family: Family, sizes: Mapping[str, int], *, probe_examples: int, seed: int
) -> None:
    """Autoencoders of several code sizes beside PCA: held-out errors, reconstructions, a map, and probes.

    Args:
      report: of the run.
      family: the autoencoders.
      sizes: the code size by name of the autoencoder, smallest first.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of all choices.
    """
    pca = fit_training_pca(report, pixels_of(family.preprocess), family.shape, max(sizes.values()), seed)
    _report_errors(report, family, pca, sizes)
    _draw_reconstructions(report, family, pca, sizes)
    _draw_maps(report, family, pca, sizes, seed)
    _report_probes(report, family, pca, sizes, probe_examples, seed)


def _report_errors(report: Report, family: Family, pca: Pca, sizes: Mapping[str, int]) -> None:
    """The metrics of the run, and the errors of PCA on the same held-out images."""
    pixels = pixels_of(family.preprocess)

    def errors(params: Pca, extras: Extras, batch: Batch) -> jax.Array:
        return pca_errors(params, pixels(params, extras, batch), [0, *sizes.values()])

    found = report.map(errors, report.heldout["heldout"], {"params": pca}).mean(0, dtype=np.float64).tolist()
    mean_image, *of_pca = found
    for (name, size), error in zip(sizes.items(), of_pca, strict=True):
        report.baselines[f"{name}_error"] = {f"PCA of {size}": error}
    metrics = report.metrics["heldout"]
    by_method = {
        "autoencoder": {size: metrics[f"{name}_error"] for name, size in sizes.items()},
        "PCA": dict(zip(sizes.values(), of_pca, strict=True)),
    }
    report.log(f"held-out squared error of a pixel (and in % of the mean image's, {mean_image:.5f}):")
    for line in size_table(by_method, mean_image):
        report.log(line)
    save_json(report, "code_sizes", {"mean image": mean_image, **by_method})
    figure = draw_by_size(
        by_method,
        title="reconstructions of held-out images from their code",
        metric="mean squared error of a pixel",
    )
    save_plot(report, "error_by_code_size", figure)


def size_table(errors: Mapping[str, Mapping[int, float]], mean_image: float) -> list[str]:
    """Lines of a table with the error of each code size by method, and in percent of the mean image's.

    Args:
      errors: by method, then by code size.
      mean_image: error of the mean image; where it is 0, as the images are all the same, there are no percentages.
    """
    sizes = sorted({size for row in errors.values() for size in row})

    def cell(error: float) -> str:
        return f"{error:.5f}" + (f" ({error / mean_image:6.1%})" if mean_image > 0 else "")

    body = [[str(size), *(cell(row[size]) for row in errors.values())] for size in sizes]
    return aligned([["code size", *errors], *body])


def _draw_reconstructions(report: Report, family: Family, pca: Pca, sizes: Mapping[str, int]) -> None:
    """Some held-out images, and their reconstructions from each code size."""

    def columns(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> list[jax.Array]:
        images = family.preprocess(batch)
        pictures = [images]
        for name, size in sizes.items():
            linear = pca_reconstruction(extras["pca"], flat(images), size).reshape(images.shape)
            pictures += [family.reconstruct[name](params, images), linear]
        return pictures

    save_image_rows(
        report,
        "reconstructions",
        columns,
        report.heldout["heldout"],
        columns=["image", *(f"{kind} {size}" for size in sizes.values() for kind in ("code", "PCA"))],
        title="held-out images, and reconstructions from codes of each size",
        variables={**report.variables, "pca": pca},
    )


def _draw_maps(report: Report, family: Family, pca: Pca, sizes: Mapping[str, int], seed: int) -> None:
    """A map of the smallest code of size 2 or more; of size 2, one of the first two principal components beside it."""
    wide = [(size, name) for name, size in sizes.items() if size >= 2]
    if not wide:
        return
    size, name = min(wide)
    pixels = pixels_of(family.preprocess)

    def codes(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        return family.encode[name](params, extras, batch), pixels(params, extras, batch)

    rows: grain.MapDataset = at_most(report.heldout["heldout"], MAPPED, seed)
    (learned, raw), labels = report.map(with_labels(codes), rows)
    if not report.writes:
        return
    classes = report.data.details.classes
    method = "plane" if size == 2 else "tsne"
    title = f"held-out images by their code of size {size}"
    save_plot(report, "map", draw_map(learned, labels, classes, method=method, title=title))
    if size == 2:
        linear, title = np.asarray(pca_code(pca, raw, 2)), "the same images by two principal components"
        save_plot(report, "map_pca", draw_map(linear, labels, classes, method="plane", title=title))


def _report_probes(
    report: Report, family: Family, pca: Pca, sizes: Mapping[str, int], examples: int, seed: int
) -> None:
    """Probes of the codes, of as many principal components, and of the pixels; those of few labels as curves."""
    probed = probed_features(
        report,
        {name: family.encode[name] for name in sizes},
        random_init=family.encode[list(sizes)[-1]],
        pixels=pixels_of(family.preprocess),
        examples=examples,
        seed=seed,
    )
    if probed is None:
        return
    features, pixels = {}, probed.features[RAW_PIXELS]
    for name, size in sizes.items():
        features[f"code of {size}"] = probed.features[name]
        features[f"PCA of {size}"] = tuple(np.asarray(pca_code(pca, side, size)) for side in pixels)
    features[RANDOM_INIT] = probed.features[RANDOM_INIT]
    features[RAW_PIXELS] = pixels
    metrics = report_comparison(report, probed, features, examples=examples, seed=seed, bars=False)
    if not report.writes or FEW_LABELS not in metrics.get(RAW_PIXELS, {}):
        return

    def curves(metric: str) -> dict[str, dict[int, float]]:
        return {
            method: {size: metrics[f"{prefix} of {size}"][metric] for size in sizes.values()}
            for method, prefix in (("code of the autoencoder", "code"), ("PCA", "PCA"))
        }

    figure = draw_by_size(
        curves(FEW_LABELS),
        title="linear probe, 10 labels a class (whiskers: over draws of them)",
        metric="held-out accuracy",
        levels={name: metrics[name][FEW_LABELS] for name in (RAW_PIXELS, RANDOM_INIT)},
        deviations=curves(FEW_LABELS + DEVIATION),
        share=True,
    )
    save_plot(report, "probe_by_code_size", figure)
