"""What an experiment with real, binary and one-hot codes shows at its end: errors, clusters, bits, probes."""

from collections.abc import Callable, Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from ssl_jax.evals.clusters import Agreement, agreement, fit_kmeans, nearest_centre
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.evals.plots import draw_matrix
from ssl_jax.evals.reconstruction import Pca, pca_rebuild
from ssl_jax.evals.tables import aligned
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.discrete_autoencoder import DiscreteFamily
from ssl_jax.reports.autoencoding import draw_columns, fit_training_pca, pixels_of
from ssl_jax.reports.images import report_probes, some
from ssl_jax.training.experiment import Report, Represented
from ssl_jax.training.folder import write_json, writing
from ssl_jax.training.sharding import replicated

EXAMPLES = 6
"""Images of a class, and of either value of a bit."""

MOST_ROWS = 16
"""Classes or bits in a picture."""

EXAMINED = 10_000
"""Training images that k-means is fitted to, and held-out ones that clusters are scored on, at most."""


def report_discrete(
    report: Report, made: DiscreteFamily, sizes: Mapping[str, int], *, probe_examples: int, seed: int
) -> None:
    """Codes side by side: errors beside PCA and k-means, classes beside labels, what the bits mean, and probes.

    sizes: by kind. probe_examples: labelled images that probes are fitted to, at most.
    """
    family = made.family
    heldout = report.data.heldout[-1]["heldout"]
    images = some(heldout, EXAMINED, seed)
    pixels = report.represent(pixels_of(family), {"params": {}}, images)
    centres = _training_centres(report, made, sizes["one_hot"], seed) if "one_hot" in sizes else None
    _report_errors(report, made, sizes, heldout, centres, seed)
    draw_columns(
        report,
        lambda params, extras, batch: jnp.stack(
            [
                family.preprocess(batch),
                *(rebuild(params, family.preprocess(batch)) for rebuild in family.rebuild.values()),
            ],
            1,
        ),
        report.variables,
        heldout,
        family.shape,
        ["image", *map(title, sizes)],
        report.folder / "plots" / "reconstructions.png",
        "held-out images, and what is rebuilt from each code",
    )
    if "one_hot" in sizes:
        _report_classes(report, made, sizes["one_hot"], images, pixels, centres)
    if "binary" in sizes:
        _draw_bits(report, made, images, pixels.features)
    report_probes(
        report,
        {f"{title(kind)} code": family.encode[kind] for kind in sizes},
        pixels=pixels_of(family),
        probe_examples=probe_examples,
        seed=seed,
    )


def bits_of(kind: str, size: int) -> float:
    """What a code can tell at most."""
    return {"real": 32.0 * size, "binary": float(size), "one_hot": float(np.log2(size))}[kind]


def _training_centres(report: Report, made: DiscreteFamily, classes: int, seed: int) -> np.ndarray:
    """k-means of the pixels of the images that are trained on, or of some where there are many: it says so."""
    images = grain.MapDataset.source(report.data.details.train)
    if len(images) > EXAMINED:
        report.log(f"k-means is fitted to {EXAMINED} of the {len(images)} training images")
        images = images.shuffle(seed=seed)[:EXAMINED]
    features = report.represent(pixels_of(made.family), {"params": {}}, images).features
    return fit_kmeans(features, classes, seed=seed).astype(np.float32)


def _report_errors(
    report: Report,
    made: DiscreteFamily,
    sizes: Mapping[str, int],
    heldout: grain.MapDataset,
    centres: np.ndarray | None,
    seed: int,
) -> None:
    """Of each code, and of the same kind of code without a network: PCA's numbers, the centres of k-means."""
    pixels = pixels_of(made.family)

    def error_of(
        rebuild: Callable[[Mapping[str, Tree], jax.Array], jax.Array], fitted: Mapping[str, Tree]
    ) -> float:
        def errors(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
            seen = pixels(params, extras, batch)
            return jnp.square(rebuild(params, seen) - seen).mean(-1, keepdims=True)

        return float(report.represent(errors, {"params": fitted}, heldout).features.mean(dtype=np.float64))

    rows = []
    for kind, size in sizes.items():
        found = report.metrics["heldout"][f"{kind}_error"]
        rows.append((f"{title(kind)} code of {size}", found, bits_of(kind, size)))
        if kind == "real":
            pca = fit_training_pca(report, pixels, size, seed)
            found = error_of(
                lambda fitted, seen, size=size: pca_rebuild(Pca(**fitted), seen, size), pca._asdict()
            )
            rows.append((f"PCA of {size}", found, bits_of(kind, size)))
        if kind == "one_hot":
            found = error_of(
                lambda fitted, seen: fitted["centres"][nearest_centre(seen, fitted["centres"])],
                {"centres": centres},
            )
            rows.append((f"k-means of {len(centres)}", found, bits_of(kind, len(centres))))
    table = [[name, f"{error:.5f}", f"{bits:.1f}"] for name, error, bits in rows]
    for line in aligned([["held-out images", "squared error of a pixel", "bits at most"], *table]):
        report.log(line)
    if report.writes:
        write_json(
            report.folder / "codes.json", {name: {"error": error, "bits": bits} for name, error, bits in rows}
        )


def _report_classes(
    report: Report,
    made: DiscreteFamily,
    classes: int,
    images: grain.MapDataset,
    pixels: Represented,
    centres: np.ndarray,
) -> None:
    """The one-hot code as a classification without labels, beside k-means of the pixels; what each class looks like."""
    logits = report.represent(made.logits["one_hot"], report.variables, images).features
    chosen = {
        "one-hot code": (logits.argmax(-1), classes),
        "k-means of pixels": (
            np.asarray(nearest_centre(jnp.asarray(pixels.features), jnp.asarray(centres))),
            len(centres),
        ),
    }
    found: dict[str, Agreement] = {}
    if (pixels.labels >= 0).any():
        found = {
            name: agreement(clusters, pixels.labels, size=size) for name, (clusters, size) in chosen.items()
        }
        for name, score in found.items():
            used = len(np.unique(chosen[name][0]))
            report.log(
                f"{name}: {used} of {chosen[name][1]} classes in use; of {len(pixels.labels)} held-out images "
                f"{score.accuracy:.1%} are right under the best matching with labels, normalised mutual information "
                f"{score.nmi:.3f}"
            )
    pictures = _decoded(report, made, "one_hot", np.eye(classes, dtype=np.float32))
    if not report.writes:
        return
    plots = report.folder / "plots"
    order = found["one-hot code"].order if found else np.arange(classes)
    with writing(plots):
        _draw_classes(made, logits, pixels, pictures, order[:MOST_ROWS], plots / "classes.png")
        if found:
            write_json(
                report.folder / "clusters.json",
                {name: {"accuracy": score.accuracy, "nmi": score.nmi} for name, score in found.items()},
            )
            score, names = found["one-hot code"], report.data.details.classes
            if len(score.shares) <= MOST_ROWS and classes <= MOST_ROWS:
                draw_matrix(
                    score.shares[:, order],
                    plots / "classes_by_label.png",
                    rows=[
                        names[label] if label < len(names) else str(label)
                        for label in range(len(score.shares))
                    ],
                    columns=[str(number) for number in order],
                    title="where the images of each label go",
                    labels=("class of the one-hot code", "label"),
                )


def _draw_classes(
    made: DiscreteFamily,
    logits: np.ndarray,
    pixels: Represented,
    pictures: np.ndarray,
    order: np.ndarray,
    file: epath.Path,
) -> None:
    """For each class: the image that its code decodes to, and the held-out images that are surest of it."""
    blank = np.ones(made.family.shape, np.float32)
    margins = logits - np.partition(logits, -2, -1)[:, -2:-1] if logits.shape[1] > 1 else logits
    rows = []
    for number in order:
        surest = np.argsort(-margins[:, number], kind="stable")[:EXAMPLES]
        shown = [
            pixels.features[i].reshape(made.family.shape) for i in surest if logits[i].argmax() == number
        ]
        rows.append([pictures[number], *shown, *[blank] * (EXAMPLES - len(shown))])
    draw_grid(
        rows,
        file,
        columns=["decoded"],
        title="classes of the one-hot code: what each decodes to, and the held-out images surest of it",
    )


def _draw_bits(report: Report, made: DiscreteFamily, images: grain.MapDataset, pixels: np.ndarray) -> None:
    """For each bit, those that are on as often as off first: the mean images, their difference, the surest examples."""
    logits = report.represent(made.logits["binary"], report.variables, images).features
    shares = (logits > 0).mean(0)
    order = np.argsort(np.abs(shares - 0.5), kind="stable")
    steady = int(((shares == 0) | (shares == 1)).sum())
    report.log(
        f"binary code: {len(shares) - steady} of {len(shares)} bits differ between held-out images; on in "
        f"{shares.min():.0%} to {shares.max():.0%} of them"
    )
    if not report.writes:
        return
    shape, rows = made.family.shape, []
    for bit in order[:MOST_ROWS]:
        on = logits[:, bit] > 0
        means = [pixels[side].mean(0) if side.any() else np.full(pixels.shape[1], 0.5) for side in (~on, on)]
        change = means[1] - means[0]
        change = 0.5 + change / (2 * max(np.abs(change).max(), 1e-6))
        rising = np.argsort(logits[:, bit], kind="stable")
        shown = [
            *means,
            change,
            *pixels[rising[:EXAMPLES]],
            *pixels[rising[::-1][:EXAMPLES]],
        ]
        rows.append([image.reshape(shape) for image in shown])
    with writing(report.folder / "plots"):
        draw_grid(
            rows,
            report.folder / "plots" / "bits.png",
            columns=[
                "off",
                "on",
                "on - off",
                "surely off",
                *[""] * (min(EXAMPLES, len(pixels)) - 1),
                "surely on",
            ],
            title="bits: mean of the held-out images that have it off and on, their difference, and the surest ones",
            note=f"bits {', '.join(map(str, order[:MOST_ROWS]))}, from the top",
        )


def _decoded(report: Report, made: DiscreteFamily, kind: str, codes: np.ndarray) -> np.ndarray:
    """Images of codes, on the host."""
    params = report.variables["params"]
    mesh = jax.tree.leaves(params)[0].sharding.mesh
    return jax.device_get(jax.jit(made.decode[kind], out_shardings=replicated(mesh))(params, codes))


def title(kind: str) -> str:
    """Of a kind of code: one-hot."""
    return kind.replace("_", "-")
