"""What an experiment with quantised images shows at its end: the codes in use, reconstructions from them, probes."""

import jax
import numpy as np

from ssl_jax.evals.codes import code_use, draw_code_use
from ssl_jax.evals.compression import psnr_of_error
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.quantized_autoencoder import QuantizedAutoencoder
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import chosen, shown_images
from ssl_jax.reports.probes import report_probes
from ssl_jax.training.experiment import Report


def report_quantized_autoencoder(
    report: Report, autoencoder: QuantizedAutoencoder, *, probe_examples: int, seed: int
) -> None:
    """Error and use of the codes of held-out images, reconstructions, and probes of the codes' vectors.

    Args:
      report: of the run.
      autoencoder: the method.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of the choices.
    """
    heldout = report.heldout["heldout"]

    def encode(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        return autoencoder.encode(params, extras, autoencoder.preprocess(batch))

    def pictures(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        images = autoencoder.preprocess(batch)
        return images, autoencoder.decode(params, extras, autoencoder.encode(params, extras, images))

    codes = report.map(encode, heldout)
    use, places = code_use(codes, autoencoder.codes), codes[0].size
    error = report.metrics["heldout"]["error"]
    report.log(
        f"held-out images: squared error of a pixel {error:.5f} (PSNR {psnr_of_error(error):.1f} dB) from {places} "
        f"codes, {places * np.log2(autoencoder.codes):.0f} bits; {use.used} of {autoencoder.codes} codes in use, "
        f"perplexity {use.perplexity:.1f}"
    )
    metrics = {"error": error, "perplexity": use.perplexity, "used": use.used}
    save_json(report, "codes", {**metrics, "codes": autoencoder.codes, "places": places})
    save_plot(report, "code_use", draw_code_use(use, title="codes of the held-out images"))
    figure = draw_grid(
        report.map(pictures, chosen(heldout, shown_images(heldout))),
        title=f"held-out images, and below them their reconstructions from {places} codes each",
    )
    save_plot(report, "reconstructions", figure)
    report_probes(
        report,
        {"codes": autoencoder.represent},
        random_init=autoencoder.represent,
        examples=probe_examples,
        seed=seed,
    )
