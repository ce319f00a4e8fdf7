"""What a prior over codes shows: new images after each evaluation, and at the end its figures beside simpler priors."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.evals.codes import code_use, draw_use
from ssl_jax.evals.pictures import draw_grid
from ssl_jax.evals.tables import aligned
from ssl_jax.methods.code_prior import CodePrior
from ssl_jax.reports.codes import find_codes
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import write_json, writing

SIDE = 8
"""Images of a row and of a column in pictures of samples."""
USED = 1024
"""Samples whose codes are counted."""
COUNTED = 10_000
"""Training images, at most, whose codes the simpler prior is counted from."""


def sample_images(report: Report, prior: CodePrior) -> None:
    """Writes samples/step-N.png in the run folder: images that the prior and the VQ-VAE's decoder make up."""
    images = _pictures(report, prior, prior.sample(report.variables["params"], SIDE**2, 0))
    if report.writes:
        file = report.folder / "samples" / f"step-{report.step}.png"
        with writing(file):
            loss = report.metrics["heldout"]["code_loss"]
            title = f"samples of the prior, step {report.step}, {loss:.3f} nats a code"
            draw_grid(images.reshape(SIDE, SIDE, *images.shape[1:]), file, title=title)


def report_prior(report: Report, prior: CodePrior, *, seed: int) -> None:
    """Nats of a code and bits of a dimension on held-out images, samples beside real images, and the codes in use.

    The simpler prior knows only how frequent every code is at every place. seed: of its draws.
    """
    heldout, train = report.data.heldout[-1]["heldout"], report.data.train[-1]
    metrics = report.metrics["heldout"]
    found = find_codes(report.represent, report.variables, prior.encode, heldout)
    seen = find_codes(
        report.represent,
        report.variables,
        prior.encode,
        train[: min(COUNTED, len(report.data.details.train))],
    )
    shares = place_shares(seen, prior.codes)
    simple = -float(np.log(shares[np.arange(prior.places), found]).mean())
    costs = {
        "all codes alike": math.log(prior.codes),
        "frequencies at each place": simple,
        "this prior": metrics["code_loss"],
    }
    report.log(f"held-out images, of {prior.places} codes each:")
    bits = {name: nats * prior.places / math.log(2) for name, nats in costs.items()}
    pixels = metrics["decoder_bits_per_dim"]
    rows = [
        [name, f"{costs[name]:.3f}", f"{bits[name]:.1f}", f"{bits[name] / prior.dims + pixels:.3f}"]
        for name in costs
    ]
    for line in aligned([["", "nats a code", "bits an image", "bits a dimension, pixels included"], *rows]):
        report.log(line)
    drawn = prior.sample(report.variables["params"], USED, seed)
    use = {"held-out images": code_use(found, prior.codes), "samples": code_use(drawn, prior.codes)}
    report.log(
        "; ".join(
            f"codes of {name}: {u.used} of {prior.codes} in use, perplexity {u.perplexity:.1f}"
            for name, u in use.items()
        )
    )
    rng = np.random.default_rng(seed)
    apart = np.stack([rng.choice(prior.codes, SIDE, p=row) for row in shares], 1).astype(np.int32)
    sides = {
        "held-out, rebuilt": found[:SIDE],
        "samples of the prior": drawn[:SIDE],
        "each code by itself": apart,
    }
    images = {name: _pictures(report, prior, codes.astype(np.int32)) for name, codes in sides.items()}
    if not report.writes:
        return
    plots = report.folder / "plots"
    write_json(
        report.folder / "prior.json",
        {
            "nats_per_code": costs,
            "bits_per_image": bits,
            "bits_per_dim": metrics["bits_per_dim"],
            "deviation": float(report.variables["deviation"]),
            "used": {name: u.used for name, u in use.items()},
            "perplexity": {name: u.perplexity for name, u in use.items()},
        },
    )
    with writing(plots):
        for name, u in use.items():
            draw_use(u, plots / f"code_use_{name.replace(' ', '_')}.png", title=f"codes of {name}")
        draw_grid(
            list(images.values()),
            plots / "samples.png",
            title="held-out images rebuilt, samples of the prior, and codes drawn by their frequency at each place",
        )


def place_shares(codes: np.ndarray, size: int) -> np.ndarray:
    """[places, size], how probable every code is at each place, counted from `codes [images, places]` plus one each."""
    counts = np.stack([np.bincount(column, minlength=size) for column in codes.T]) + 1.0
    return counts / counts.sum(1, keepdims=True)


def _pictures(report: Report, prior: CodePrior, codes: np.ndarray) -> np.ndarray:
    extras = {name: value for name, value in report.variables.items() if name != "params"}
    return np.asarray(jax.jit(prior.decode)(extras, jnp.asarray(codes)))
