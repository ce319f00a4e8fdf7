"""What a prior over codes shows: new images after each evaluation, and at the end its costs beside simpler priors."""

import math
from collections.abc import Mapping

import numpy as np

from ssl_jax.evals.codes import code_use, draw_code_use, place_frequencies, place_nats, sample_places
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.method import split_variables
from ssl_jax.methods.code_prior import CodePrior
from ssl_jax.reports.files import save_json, save_picture, save_plot
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

SIDE = 8
"""Images of a row and of a column in pictures of samples."""
USED = 1024
"""Samples whose codes are counted."""
COUNTED = 10_000
"""Training images, at most, whose codes the simpler prior is counted from."""


def sample_images(report: Report, prior: CodePrior) -> None:
    """Writes samples/step-N.png: images of codes that are drawn from the prior."""
    images = _decoded(report, prior, prior.sample(report.variables["params"], SIDE**2, 0))
    loss = report.metrics["heldout"]["code_loss"]
    title = f"samples of the prior, step {report.step}, {loss:.3f} nats a code"
    figure = draw_grid(images.reshape(SIDE, SIDE, *images.shape[1:]), title=title)
    save_picture(report, f"samples/step-{report.step}.png", figure)


def report_code_prior(report: Report, prior: CodePrior, *, seed: int) -> None:
    """Nats of a code and bits of a dimension on held-out images, samples beside real images, and the codes in use.

    Beside the prior stands one that knows only how frequent every code is at every place.

    Args:
      report: of the run.
      prior: the method.
      seed: of the samples.
    """
    train = report.data.train[-1][: min(COUNTED, len(report.data.details.train))]
    heldout = report.map(prior.encode, report.heldout["heldout"])
    frequencies = place_frequencies(report.map(prior.encode, train), prior.codes)
    costs = {
        "all codes alike": math.log(prior.codes),
        "frequencies at each place": place_nats(frequencies, heldout),
        "learned prior": report.metrics["heldout"]["code_loss"],
    }
    report.baselines["code_loss"] = {name: nats for name, nats in costs.items() if name != "learned prior"}
    bits = {name: nats * prior.places / math.log(2) for name, nats in costs.items()}
    _log_costs(report, prior, costs, bits)
    samples = prior.sample(report.variables["params"], USED, seed)
    use = {"held-out images": code_use(heldout, prior.codes), "samples": code_use(samples, prior.codes)}
    report.log(
        "; ".join(
            f"codes of {name}: {u.used} of {prior.codes} in use, perplexity {u.perplexity:.1f}"
            for name, u in use.items()
        )
    )
    save_json(
        report,
        "prior",
        {
            "nats_per_code": costs,
            "bits_per_image": bits,
            "bits_per_dim": report.metrics["heldout"]["bits_per_dim"],
            "deviation": float(report.variables["deviation"]),
            "used": {name: u.used for name, u in use.items()},
            "perplexity": {name: u.perplexity for name, u in use.items()},
        },
    )
    for name, u in use.items():
        save_plot(report, f"code_use_{name.replace(' ', '_')}", draw_code_use(u, title=f"codes of {name}"))
    some = np.random.default_rng(seed).permutation(len(heldout))[:SIDE]  # files are often sorted by class
    rows = [heldout[some], samples[:SIDE], sample_places(frequencies, SIDE, seed)]
    figure = draw_grid(
        [_decoded(report, prior, codes) for codes in rows],
        title="reconstructions of held-out images, samples, and codes drawn by their frequency at each place",
    )
    save_plot(report, "samples", figure)


def _log_costs(
    report: Report, prior: CodePrior, costs: Mapping[str, float], bits: Mapping[str, float]
) -> None:
    """A table of nats a code and bits an image by prior; the pixels cost the same under all of them."""
    pixels = report.metrics["heldout"]["decoder_bits_per_dim"]
    report.log(f"held-out images, of {prior.places} codes each:")
    rows = [
        [name, f"{costs[name]:.3f}", f"{bits[name]:.1f}", f"{bits[name] / prior.dims + pixels:.3f}"]
        for name in costs
    ]
    for line in aligned([["", "nats a code", "bits an image", "bits a dimension, pixels included"], *rows]):
        report.log(line)


def _decoded(report: Report, prior: CodePrior, codes: np.ndarray) -> np.ndarray:
    """Images of codes `[images, places]`."""
    _, extras = split_variables(report.variables)
    return report.compute(prior.decode, extras, codes)
