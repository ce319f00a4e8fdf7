"""What an experiment with denoising autoencoders shows at its end: errors by noise, probes, pictures."""

from collections.abc import Mapping

import jax

from ssl_jax.evals.first_layer import draw_first_layers
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.autoencoder import Family
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import pixels_of, save_image_rows
from ssl_jax.reports.probes import report_probes
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.transforms.corruption import Corruption, corrupt


def report_denoising_autoencoders(
    report: Report, family: Family, noises: Mapping[str, Corruption], *, probe_examples: int, seed: int
) -> None:
    """Autoencoders trained on one noise each, and a plain one: errors on every noise, pictures, and probes.

    Args:
      report: of a run with the metrics of `methods.autoencoder.denoising_evaluation`.
      family: the autoencoders, of which each noise has one of its name.
      noises: by name.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of the choices and of the noise in pictures.
    """
    metrics = report.metrics["heldout"]
    methods = ("nothing", "median", "mean", *family.reconstruct)
    errors = {
        noise: {method: metrics[f"{method}_on_{noise}_error"] for method in methods} for noise in noises
    }
    report.log(
        "held-out squared error of a pixel, by noise (rows) and by what reconstructs the image (columns):"
    )
    body = [[noise, *(f"{row[method]:.4f}" for method in methods)] for noise, row in errors.items()]
    for line in aligned([["", *methods], *body]):
        report.log(line)
    save_json(report, "reconstruction_errors", errors)
    _draw_reconstructions(report, family, noises, seed)
    _draw_first_layers(report, family)
    report_probes(
        report,
        family.encode,
        random_init=next(iter(family.encode.values())),  # all have the same initialisation
        pixels=pixels_of(family.preprocess),
        examples=probe_examples,
        seed=seed,
    )


def _draw_reconstructions(
    report: Report, family: Family, noises: Mapping[str, Corruption], seed: int
) -> None:
    """Some held-out images with each noise, and reconstructed by the autoencoder that was trained on it."""

    def columns(params: Tree, extras: Extras, batch: Batch) -> list[jax.Array]:
        images = family.preprocess(batch)
        pictures = []
        for noise, corruption in noises.items():
            corrupted = corrupt(jax.random.key(seed), images, corruption)
            pictures += [corrupted, family.reconstruct[noise](params, corrupted)]
        return [*pictures, images]

    names = [name for noise in noises for name in (noise.replace("_", " "), "reconstruction")]
    save_image_rows(
        report,
        "reconstructions",
        columns,
        report.heldout["heldout"],
        columns=[*names, "original"],
        title="held-out images with noise, and reconstructions by the autoencoder trained on it",
    )


def _draw_first_layers(report: Report, family: Family) -> None:
    """The weights of the first layers of dense encoders."""
    layers = {name: report.variables["params"][name]["encoder"].get("dense1") for name in family.encode}
    if None in layers.values():
        return
    kernels = report.compute(lambda layers: [layer["kernel"] for layer in layers], list(layers.values()))
    named = {name.replace("_", " "): kernel for name, kernel in zip(layers, kernels, strict=True)}
    save_plot(report, "first_layer", draw_first_layers(named, family.shape))
