"""What an experiment with denoising autoencoders shows at its end: errors by noise, probes, pictures."""

from collections.abc import Mapping

import grain
import jax
import jax.numpy as jnp
from etils import epath

from ssl_jax.evals.first_layer import draw_first_layers
from ssl_jax.evals.tables import aligned
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.autoencoder import Family
from ssl_jax.reports.autoencoding import draw_columns, pixels_of
from ssl_jax.reports.images import report_probes
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import write_json, writing
from ssl_jax.training.sharding import replicated
from ssl_jax.transforms.corruption import Corruption, corrupt


def report_restoration(
    report: Report,
    family: Family,
    noises: Mapping[str, Corruption],
    *,
    probe_examples: int,
    seed: int,
) -> None:
    """Autoencoders trained to take off one noise each, and a plain one: errors on every noise, pictures, probes.

    The figures are those of `methods.autoencoder.restoration`.
    """
    heldout = report.data.heldout[-1]["heldout"]
    metrics = report.metrics["heldout"]
    left = {
        noise: {
            who: metrics[f"{who}_on_{noise}_error"] for who in ("nothing", "median", "mean", *family.rebuild)
        }
        for noise in noises
    }
    report.log("held-out squared error of a pixel, by the noise to undo and by who undoes it:")
    columns = list(next(iter(left.values())))
    body = [[noise, *(f"{row[who]:.4f}" for who in columns)] for noise, row in left.items()]
    for line in aligned([["", *columns], *body]):
        report.log(line)
    plots = report.folder / "plots"
    if report.writes:
        write_json(report.folder / "restoration.json", left)
    _draw_restored(report, family, noises, heldout, plots / "restored.png", seed)
    _draw_first_layers(report, family, plots / "first_layer.png")
    report_probes(
        report,
        family.encode,
        untrained=next(iter(family.encode.values())),  # they begin alike
        pixels=pixels_of(family),
        probe_examples=probe_examples,
        seed=seed,
    )


def _draw_restored(
    report: Report,
    family: Family,
    noises: Mapping[str, Corruption],
    images: grain.MapDataset,
    file: epath.Path,
    seed: int,
) -> None:
    """The first held-out images; with each noise; and restored by the autoencoder that was trained on it."""

    def columns(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen = family.preprocess(batch)
        shown = []
        for noise, corruption in noises.items():
            noisy = corrupt(jax.random.key(seed), seen, corruption)
            shown += [noisy, family.rebuild[noise](params, noisy)]
        return jnp.stack([*shown, seen], 1)

    names = [name for noise in noises for name in (noise.replace("_", " "), "restored")]
    title = "held-out images with noise, and restored by the autoencoder trained on it"
    draw_columns(report, columns, report.variables, images, family.shape, [*names, "original"], file, title)


def _draw_first_layers(report: Report, family: Family, file: epath.Path) -> None:
    """Of dense encoders only."""
    layers = {name: report.variables["params"][name]["encoder"].get("dense1") for name in family.encode}
    if None in layers.values():
        return
    kernels = [layer["kernel"] for layer in layers.values()]
    # By all processes, as a kernel may be cut over their devices.
    whole = jax.jit(lambda kernels: kernels, out_shardings=replicated(kernels[0].sharding.mesh))
    kernels = jax.device_get(whole(kernels))
    if report.writes:
        names = [name.replace("_", " ") for name in layers]
        with writing(file.parent):
            draw_first_layers(dict(zip(names, kernels, strict=True)), family.shape, file)
