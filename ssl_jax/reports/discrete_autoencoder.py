"""What an experiment with real, binary and one-hot codes shows at its end: errors, clusters, bits, and probes."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evals.clusters import Agreement, agreement, fit_kmeans, nearest_centre
from ssl_jax.evals.discrete_codes import bit_images, bit_use, code_bits, surest_images
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.evals.plots import draw_matrix
from ssl_jax.evals.reconstruction import pca_reconstruction
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.discrete_autoencoder import DiscreteFamily
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import (
    at_most,
    fit_training_pca,
    pixels_of,
    save_image_rows,
    training_pixels,
)
from ssl_jax.reports.probes import report_probes
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import with_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 6
"""Images of a class, and of either value of a bit."""
MOST_ROWS = 16
"""Classes or bits in a picture."""
EXAMINED = 10_000
"""Training images that k-means is fitted to, and held-out ones that clusters are scored on, at most."""


class Examined(NamedTuple):
    """Held-out images that classes and bits are shown by.

    Attributes:
      pixels: float32 `[images, pixels]`.
      labels: int `[images]`, -1 for none.
      logits: by kind of code, float32 `[images, size]`.
    """

    pixels: np.ndarray
    labels: np.ndarray
    logits: Mapping[str, np.ndarray]


def report_discrete_autoencoders(
    report: Report, autoencoders: DiscreteFamily, sizes: Mapping[str, int], *, probe_examples: int, seed: int
) -> None:
    """Codes side by side: errors beside PCA and k-means, classes beside labels, what the bits mean, and probes.

    Args:
      report: of the run.
      autoencoders: by kind of code.
      sizes: numbers, bits or classes of the code, by kind.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of all choices.
    """
    family = autoencoders.family
    pixels = pixels_of(family.preprocess)
    images = at_most(report.heldout["heldout"], EXAMINED, seed)
    examined = _examine(report, autoencoders, images)
    centres = None
    if "one_hot" in sizes:
        rows = training_pixels(report, pixels, EXAMINED, seed, baseline="k-means")
        centres = fit_kmeans(rows, sizes["one_hot"], seed=seed).astype(np.float32)
    _report_errors(report, autoencoders, sizes, centres, seed)
    _draw_reconstructions(report, autoencoders, sizes)
    if centres is not None:
        _report_classes(report, autoencoders, sizes["one_hot"], examined, centres)
    if "binary" in sizes:
        _report_bits(report, autoencoders, examined)
    report_probes(
        report,
        {f"{title(kind)} code": family.encode[kind] for kind in sizes},
        pixels=pixels,
        examples=probe_examples,
        seed=seed,
    )


def title(kind: str) -> str:
    """The name of a kind of code as people write it: one-hot."""
    return kind.replace("_", "-")


def _examine(report: Report, autoencoders: DiscreteFamily, images: grain.MapDataset) -> Examined:
    pixels = pixels_of(autoencoders.family.preprocess)

    def examine(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, dict[str, jax.Array]]:
        logits = {kind: found(params, extras, batch) for kind, found in autoencoders.logits.items()}
        return pixels(params, extras, batch), logits

    (raw, logits), labels = report.map(with_labels(examine), images)
    return Examined(raw, labels, logits)


def _report_errors(
    report: Report,
    autoencoders: DiscreteFamily,
    sizes: Mapping[str, int],
    centres: np.ndarray | None,
    seed: int,
) -> None:
    """Of each code, and of codes of its size without a network: PCA's numbers, the centres of k-means."""
    family = autoencoders.family
    pixels = pixels_of(family.preprocess)

    def error_of(reconstruct: Callable[[Tree, jax.Array], jax.Array], fitted: Tree) -> float:
        def errors(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
            images = pixels(params, extras, batch)
            return jnp.square(reconstruct(params, images) - images).mean(-1)

        found = report.map(errors, report.heldout["heldout"], {"params": fitted})
        return float(found.mean(dtype=np.float64))

    rows = []
    for kind, size in sizes.items():
        error = report.metrics["heldout"][f"{kind}_error"]
        rows.append((f"{title(kind)} code of {size}", error, code_bits(kind, size)))
        if kind == "real":
            pca = fit_training_pca(report, pixels, family.shape, size, seed)
            error = error_of(lambda pca, images, size=size: pca_reconstruction(pca, images, size), pca)
            rows.append((f"PCA of {size}", error, code_bits(kind, size)))
            report.baselines[f"{kind}_error"] = {f"PCA of {size}": error}
        if kind == "one_hot":
            error = error_of(lambda centres, images: centres[nearest_centre(images, centres)], centres)
            rows.append((f"k-means of {len(centres)}", error, code_bits(kind, len(centres))))
            report.baselines[f"{kind}_error"] = {f"k-means of {len(centres)}": error}
    table = [[name, f"{error:.5f}", f"{bits:.1f}"] for name, error, bits in rows]
    for line in aligned([["held-out images", "squared error of a pixel", "bits at most"], *table]):
        report.log(line)
    save_json(report, "codes", {name: {"error": error, "bits": bits} for name, error, bits in rows})


def _draw_reconstructions(report: Report, autoencoders: DiscreteFamily, sizes: Mapping[str, int]) -> None:
    """Some held-out images, and their reconstructions from each kind of code."""
    family = autoencoders.family

    def columns(params: Tree, extras: Extras, batch: Batch) -> list[jax.Array]:
        images = family.preprocess(batch)
        return [images, *(reconstruct(params, images) for reconstruct in family.reconstruct.values())]

    save_image_rows(
        report,
        "reconstructions",
        columns,
        report.heldout["heldout"],
        columns=["image", *map(title, sizes)],
        title="held-out images, and reconstructions from each code",
    )


def _report_classes(
    report: Report, autoencoders: DiscreteFamily, classes: int, examined: Examined, centres: np.ndarray
) -> None:
    """The one-hot code as a classification without labels, beside k-means of the pixels; what each class looks like."""
    clusters = {
        "one-hot code": (examined.logits["one_hot"].argmax(-1), classes),
        "k-means of pixels": (
            np.asarray(nearest_centre(jnp.asarray(examined.pixels), jnp.asarray(centres))),
            len(centres),
        ),
    }
    scores: dict[str, Agreement] = {}
    if (examined.labels >= 0).any():
        scores = {
            name: agreement(chosen, examined.labels, size=size) for name, (chosen, size) in clusters.items()
        }
        for name, score in scores.items():
            chosen, size = clusters[name]
            report.log(
                f"{name}: {len(np.unique(chosen))} of {size} classes in use; of {len(examined.labels)} held-out images "
                f"{score.accuracy:.1%} are right under the best matching with labels, normalised mutual information "
                f"{score.nmi:.3f}"
            )
        save_json(
            report,
            "clusters",
            {name: {"accuracy": score.accuracy, "nmi": score.nmi} for name, score in scores.items()},
        )
    codes = np.eye(classes, dtype=np.float32)
    decoded = report.compute(autoencoders.decode["one_hot"], report.variables["params"], codes)
    order = scores["one-hot code"].order if scores else np.arange(classes)
    figure = _draw_classes(examined, decoded, order[:MOST_ROWS], autoencoders.family.shape)
    save_plot(report, "classes", figure)
    if scores and classes <= MOST_ROWS and len(scores["one-hot code"].shares) <= MOST_ROWS:
        shares, names = scores["one-hot code"].shares, report.data.details.classes
        figure = draw_matrix(
            shares[:, order],
            rows=[names[label] if label < len(names) else str(label) for label in range(len(shares))],
            columns=[str(number) for number in order],
            title="classes of the images of each label",
            labels=("class of the one-hot code", "label"),
        )
        save_plot(report, "classes_by_label", figure)


def _draw_classes(
    examined: Examined, decoded: np.ndarray, order: np.ndarray, shape: tuple[int, int, int]
) -> "Figure":
    """For each class: the image that its code decodes to, and the held-out images that are most surely of it."""
    blank = np.ones(shape, np.float32)
    rows = []
    for number in order:
        surest = surest_images(examined.logits["one_hot"], number, EXAMPLES)
        shown = [examined.pixels[i].reshape(shape) for i in surest]
        rows.append([decoded[number], *shown, *[blank] * (EXAMPLES - len(shown))])
    return draw_grid(
        rows,
        columns=["decoded"],
        title="classes of the one-hot code: the decoded class, and the held-out images most surely of it",
    )


def _report_bits(report: Report, autoencoders: DiscreteFamily, examined: Examined) -> None:
    """How often each bit is on, and a row for each bit: mean images, their difference, and the surest images."""
    logits = examined.logits["binary"]
    use = bit_use(logits)
    report.log(
        f"binary code: {use.varying} of {len(use.shares)} bits differ between held-out images; on in "
        f"{use.shares.min():.0%} to {use.shares.max():.0%} of them"
    )
    rows = []
    for bit in use.order[:MOST_ROWS]:
        shown = bit_images(logits[:, bit], examined.pixels, EXAMPLES)
        surest = examined.pixels[np.concatenate([shown.surely_off, shown.surely_on])]
        pictures = [shown.off, shown.on, shown.change, *surest]
        rows.append([picture.reshape(autoencoders.family.shape) for picture in pictures])
    more = [""] * (min(EXAMPLES, len(logits)) - 1)
    figure = draw_grid(
        rows,
        columns=["off", "on", "on - off", "surely off", *more, "surely on"],
        title="bits: mean of the held-out images with the bit off and on, their difference, and the surest images",
        note=f"bits {', '.join(map(str, use.order[:MOST_ROWS]))}, from the top",
    )
    save_plot(report, "bits", figure)
