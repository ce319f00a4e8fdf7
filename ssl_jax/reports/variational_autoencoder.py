"""What an experiment with a variational autoencoder shows at its end: likelihoods, its codes, and probes of them."""

import math

import jax
import numpy as np

from ssl_jax.evals.latent_codes import (
    ACTIVE,
    CodeActivity,
    code_activity,
    interpolations,
    latent_plane,
    prior_codes,
)
from ssl_jax.evals.likelihood import independent_pixels, mean_log_likelihood, probabilistic_pca
from ssl_jax.evals.pictures import draw_grid, draw_map
from ssl_jax.losses.variational import gaussian_kl
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.variational import LEVELS, Likelihood, Variational
from ssl_jax.reports.files import save_json, save_plot
from ssl_jax.reports.images import (
    MAPPED,
    PCA_NUMBERS,
    SHOWN,
    at_most,
    flat,
    save_image_rows,
    training_pixels,
    varied,
)
from ssl_jax.reports.probes import report_probes
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report
from ssl_jax.training.mapping import with_labels

ESTIMATED = 1000
"""Held-out images whose likelihood is estimated with importance weights."""
PLANE = 10
"""Places along each side of the latent grid."""
TELLING = 5
"""Numbers of the code that are named."""


def report_variational_autoencoder(
    report: Report,
    autoencoder: Variational,
    *,
    code_size: int,
    likelihood: Likelihood,
    samples: int,
    probe_examples: int,
    seed: int,
) -> None:
    """Likelihoods beside a model without a network, samples, interpolations, a plane of codes, a map, and probes.

    Args:
      report: of the run.
      autoencoder: the method.
      code_size: numbers of a code.
      likelihood: of the method.
      samples: importance weights of an image.
      probe_examples: labelled training images to fit probes to, at most: a seeded choice. All held-out ones are scored.
      seed: of all choices and draws.
    """
    _report_likelihoods(report, autoencoder, code_size, likelihood, samples, seed)
    means, labels, activity = _report_activity(report, autoencoder, code_size, seed)
    _draw_codes(report, autoencoder, means[varied(labels, 2 * SHOWN)], activity, seed)
    _draw_reconstructions(report, autoencoder, seed)
    encode = autoencoder.encode
    report_probes(report, {"code": encode}, random_init=encode, examples=probe_examples, seed=seed)


def _report_likelihoods(
    report: Report,
    autoencoder: Variational,
    code_size: int,
    likelihood: Likelihood,
    samples: int,
    seed: int,
) -> None:
    """The two bounds of the model and the log-likelihood of a model without a network, of the same draw of images."""
    images = at_most(report.heldout["heldout"], ESTIMATED, seed)
    rng = jax.random.key(seed)

    def examine(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """(bounds, pixels) of one draw, which `bounds` makes with the first half of the key."""
        data = autoencoder.draw(jax.random.split(rng)[0], autoencoder.preprocess(batch))
        return autoencoder.bounds(params, batch, rng, samples), flat(data)

    def training(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        greys = autoencoder.preprocess(batch)
        return flat(greys if likelihood == "bernoulli" else autoencoder.draw(rng, greys))

    bounds, test = report.map(examine, images)
    bounds = bounds.astype(np.float64)
    dims = math.prod(autoencoder.shape)
    bernoulli = likelihood == "bernoulli"
    baseline = "independent pixels" if bernoulli else f"probabilistic PCA of {code_size}"
    fitted = training_pixels(report, training, max(2, PCA_NUMBERS // dims), seed, baseline=baseline)
    nats = {
        "evidence lower bound": bounds[:, 0],
        f"importance-weighted bound, {samples} samples": bounds[:, 1],
        baseline: independent_pixels(fitted, test)
        if bernoulli
        else probabilistic_pca(fitted, test, code_size, seed=seed),
    }
    metrics = {
        name: mean_log_likelihood(found, dims=dims, levels=LEVELS[likelihood]) for name, found in nats.items()
    }
    report.baselines["negative_elbo"] = {baseline: -metrics[baseline].nats}
    kind = "black and white images, drawn from the greys" if bernoulli else "8-bit images"
    report.log(f"log-likelihood of {len(images)} held-out {kind} (standard error over them):")
    table = [
        [name, f"{row.nats:.2f} ± {row.standard_error:.2f}", f"{row.bits_per_dim:.4f}"]
        for name, row in metrics.items()
    ]
    for line in aligned([["", "nats an image", "bits a dimension"], *table]):
        report.log(line)
    content = {name: row._asdict() for name, row in metrics.items()}
    save_json(report, "likelihood", {"likelihood": likelihood, **content})


def _report_activity(
    report: Report, autoencoder: Variational, code_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray, CodeActivity]:
    """Prints how many numbers of the code are active, and draws a map.

    Returns:
      The means of the codes `[images, code_size]`, the labels of the images, and the activity.
    """

    def codes(params: Tree, extras: Extras, batch: Batch) -> tuple[jax.Array, jax.Array]:
        mean, log_variance = autoencoder.posterior(params, autoencoder.preprocess(batch))
        return mean, gaussian_kl(mean, log_variance)

    images = at_most(report.heldout["heldout"], MAPPED, seed)
    (means, divergences), labels = report.map(with_labels(codes), images)
    activity = code_activity(divergences)
    telling = [f"{number} ({activity.nats[number]:.2f})" for number in activity.order[:TELLING]]
    report.log(
        f"{activity.active} of the code's {code_size} numbers are active (above {ACTIVE} nats); the most telling ones: "
        f"{', '.join(telling)}"
    )
    save_json(report, "code_use", {"nats_by_number": activity.nats.tolist()})
    if report.writes:
        figure = draw_map(
            means,
            labels,
            report.data.details.classes,
            method="plane" if code_size <= 2 else "tsne",
            title=f"held-out images by the mean of their code of size {code_size}",
        )
        save_plot(report, "map", figure)
    return means, labels, activity


def _draw_codes(
    report: Report, autoencoder: Variational, means: np.ndarray, activity: CodeActivity, seed: int
) -> None:
    """Images of codes drawn from the prior, of codes between two images', and of codes on a plane.

    Args:
      report: of the run.
      autoencoder: the method.
      means: of the codes of a few images.
      activity: of the numbers of a code.
      seed: of the draws.
    """
    code_size, coordinates = means.shape[1], activity.order[:2]
    base, plane_title = np.zeros(code_size), "codes at quantiles of the prior"
    if code_size > 2:
        down, across = coordinates
        base = means[0]
        plane_title = f"a held-out image's code with other numbers {down} (down) and {across} (across)"
    samples = prior_codes(SHOWN * SHOWN, code_size, seed)
    plots = {
        "samples": ("samples from the prior: the mean of the pixels", samples.reshape(SHOWN, SHOWN, -1)),
        "interpolations": (
            "from the code of one held-out image to that of another",
            interpolations(means, SHOWN),
        ),
        "latent_grid": (
            plane_title,
            latent_plane(base, coordinates, PLANE).reshape(PLANE, -1, code_size),
        ),
    }
    # All at once, so that the decoder is compiled once.
    every = np.concatenate([codes.reshape(-1, code_size) for _, codes in plots.values()]).astype(np.float32)
    images = report.compute(autoencoder.decode, report.variables["params"], every)
    for name, (title, codes) in plots.items():
        rows, columns = codes.shape[:2]
        own, images = np.split(images, [rows * columns])
        if rows:
            grid = own.reshape(rows, columns, *own.shape[1:])
            save_plot(report, name, draw_grid(grid, title=title))


def _draw_reconstructions(report: Report, autoencoder: Variational, seed: int) -> None:
    """Some held-out images, one draw of the data that the likelihood is of, and the image of the code's mean."""

    def columns(params: Tree, extras: Extras, batch: Batch) -> list[jax.Array]:
        images = autoencoder.preprocess(batch)
        data = autoencoder.draw(jax.random.key(seed), images)
        return [images, data, autoencoder.decode(params, autoencoder.posterior(params, data)[0])]

    save_image_rows(
        report,
        "reconstructions",
        columns,
        report.heldout["heldout"],
        columns=["image", "data", "reconstruction"],
        title="held-out images",
    )
