"""What an experiment with a variational autoencoder shows at its end: likelihoods, and what its codes look like."""

from collections.abc import Mapping

import grain
import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

from ssl_jax.evals.likelihood import independent_pixels, probabilistic_pca
from ssl_jax.evals.pictures import draw_grid, draw_map
from ssl_jax.evals.tables import aligned
from ssl_jax.losses.variational import bits_per_dim, gaussian_kl
from ssl_jax.method import Batch, Tree
from ssl_jax.methods.variational import LEVELS, Likelihood, Variational
from ssl_jax.reports.autoencoding import MAPPED, PCA_NUMBERS, draw_columns
from ssl_jax.reports.images import SHOWN, report_probes, some
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import write_json, writing
from ssl_jax.training.sharding import replicated

ESTIMATED = 1000
"""Held-out images whose likelihood is estimated with importance weights."""

USED = 0.01
"""Nats that a number of the code must tell of an image in the mean, to count as used."""

PLANE = 10
"""Places along each side of the latent grid."""


def report_variational(
    report: Report,
    made: Variational,
    *,
    code_size: int,
    likelihood: Likelihood,
    samples: int,
    probe_examples: int,
    seed: int,
) -> None:
    """Bounds beside a model without a network, samples, interpolations, a plane of codes, a map, and probes.

    samples: importance weights of an image. probe_examples: labelled images that probes are fitted to, at most.
    """
    heldout = report.data.heldout[-1]["heldout"]
    _report_likelihoods(report, made, heldout, code_size, likelihood, samples, seed)
    codes = _report_use(report, made, heldout, code_size, seed)
    _draw_codes(report, made, *codes, seed)
    _draw_rebuilt(report, made, heldout, seed)
    report_probes(
        report, {"code": made.encode}, untrained=made.encode, probe_examples=probe_examples, seed=seed
    )


def _report_likelihoods(
    report: Report,
    made: Variational,
    heldout: grain.MapDataset,
    code_size: int,
    likelihood: Likelihood,
    samples: int,
    seed: int,
) -> None:
    """Of the same draw of the same images: the model's two bounds, and the figure of a model without a network."""
    images = some(heldout, ESTIMATED, seed)
    rng = jax.random.key(seed)

    def bounds(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        return made.bounds(params, batch, rng, samples)

    def data(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        # As `bounds` draws them.
        drawn = made.draw(jax.random.split(rng)[0], made.preprocess(batch))
        return drawn.reshape(drawn.shape[0], -1)

    def pixels(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen = made.preprocess(batch) if likelihood == "bernoulli" else made.draw(rng, made.preprocess(batch))
        return seen.reshape(seen.shape[0], -1)

    found = report.represent(bounds, report.variables, images).features.astype(np.float64)
    test = report.represent(data, {"params": {}}, images).features
    train = grain.MapDataset.source(report.data.details.train)
    most = max(2, PCA_NUMBERS // test.shape[1])
    fitted = report.represent(pixels, {"params": {}}, some(train, most, seed)).features
    if not report.writes:
        return
    rows = {
        "evidence lower bound": found[:, 0],
        f"importance-weighted bound, {samples} samples": found[:, 1],
    }
    if likelihood == "bernoulli":
        rows["every pixel by itself"] = independent_pixels(fitted, test)
    else:
        rows[f"probabilistic PCA of {code_size}"] = probabilistic_pca(fitted, test, code_size, seed=seed)
    kind = "black and white images, drawn from the greys" if likelihood == "bernoulli" else "8-bit images"
    report.log(f"log-likelihood of {len(images)} held-out {kind} (standard error over them):")
    table, metrics = [["", "nats an image", "bits a dimension"]], {}
    for name, nats in rows.items():
        error = nats.std(ddof=1) / np.sqrt(len(nats)) if len(nats) > 1 else 0.0
        bits = float(bits_per_dim(-nats.mean(), test.shape[1], levels=LEVELS[likelihood]))
        table.append([name, f"{nats.mean():.2f} ± {error:.2f}", f"{bits:.4f}"])
        metrics[name] = {"nats": float(nats.mean()), "standard_error": float(error), "bits_per_dim": bits}
    for line in aligned(table):
        report.log(line)
    write_json(report.folder / "likelihood.json", {"likelihood": likelihood, **metrics})


def _report_use(
    report: Report, made: Variational, heldout: grain.MapDataset, code_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Says how many numbers of the code are used, and draws a map.

    Returns (means of the codes [images, code_size], the numbers of the code, the most telling first).
    """
    images = some(heldout, MAPPED, seed)

    def codes(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        mean, log_variance = made.posterior(params, made.preprocess(batch))
        return jnp.concatenate([mean, gaussian_kl(mean, log_variance)], -1)

    found = report.represent(codes, report.variables, images)
    means, told = found.features[:, :code_size], found.features[:, code_size:].mean(0)
    order = np.argsort(-told, kind="stable")
    report.log(
        f"{int((told > USED).sum())} of the code's {code_size} numbers are used (above {USED} nats); the most telling "
        f"ones: {', '.join(f'{number} ({told[number]:.2f})' for number in order[:5])}"
    )
    if report.writes:
        plots = report.folder / "plots"
        write_json(report.folder / "code_use.json", {"nats_by_number": told.tolist()})
        with writing(plots):
            draw_map(
                means,
                found.labels,
                report.data.details.classes,
                plots / "map.png",
                method="plane" if code_size <= 2 else "tsne",
                title=f"held-out images by the mean of their code of {code_size}",
            )
    return means, order


def _draw_codes(report: Report, made: Variational, means: np.ndarray, order: np.ndarray, seed: int) -> None:
    """Pictures of codes that are not an image's: drawn from the prior, between two images', and on a plane."""
    width = means.shape[1]
    drawn = np.random.default_rng(seed).normal(size=(SHOWN * SHOWN, width))
    pairs = means[: 2 * min(SHOWN, len(means) // 2)]
    steps = np.linspace(0, 1, SHOWN)[:, None]
    between = [(1 - steps) * start + steps * end for start, end in zip(pairs[::2], pairs[1::2], strict=True)]
    plane = latent_plane(np.zeros(width) if width <= 2 else means[0], order[:2], PLANE)
    codes = np.concatenate([drawn, *between, plane]).astype(np.float32)
    params = report.variables["params"]
    mesh = jax.tree.leaves(params)[0].sharding.mesh
    pictures = jax.device_get(jax.jit(made.decode, out_shardings=replicated(mesh))(params, codes))
    if not report.writes:
        return
    ends = (len(drawn), len(drawn) + len(between) * SHOWN)
    plots = report.folder / "plots"
    with writing(plots):
        draw_grid(
            _rows(pictures[: ends[0]], SHOWN),
            plots / "samples.png",
            title="from codes drawn from the prior: the mean of the pixels",
        )
        if between:
            draw_grid(
                _rows(pictures[ends[0] : ends[1]], SHOWN),
                plots / "interpolations.png",
                title="from the code of one held-out image to that of another",
            )
        draw_grid(
            _rows(pictures[ends[1] :], PLANE if width > 1 else 1),
            plots / "latent_grid.png",
            title="codes at quantiles of the prior"
            if width <= 2
            else f"a held-out image's code with other numbers {order[0]} (down) and {order[1]} (across)",
        )


def latent_plane(base: np.ndarray, coordinates: np.ndarray, side: int) -> np.ndarray:
    """[side^coordinates, width], codes like `base` but for one or two coordinates, which take the prior's quantiles.

    The quantiles cut the prior into `side` parts of equal mass, and lie in their middles (arXiv:1312.6114, figure 4).
    The second coordinate runs fastest.
    """
    quantiles = norm.ppf((np.arange(side) + 0.5) / side)
    places = np.stack(np.meshgrid(*[quantiles] * len(coordinates), indexing="ij"), -1)
    codes = np.tile(base, (side ** len(coordinates), 1)).astype(np.float64)
    codes[:, coordinates] = places.reshape(-1, len(coordinates))
    return codes


def _rows(pictures: np.ndarray, columns: int) -> list[list[np.ndarray]]:
    return [list(pictures[start : start + columns]) for start in range(0, len(pictures), columns)]


def _draw_rebuilt(report: Report, made: Variational, images: grain.MapDataset, seed: int) -> None:
    """The first held-out images, one draw of what the likelihood is of, and the image made of the code's mean."""

    def columns(params: Tree, extras: Mapping[str, Tree], batch: Batch) -> jax.Array:
        seen = made.preprocess(batch)
        data = made.draw(jax.random.key(seed), seen)
        rebuilt = made.decode(params, made.posterior(params, data)[0])
        return jnp.stack([seen, data, rebuilt], 1)

    draw_columns(
        report,
        columns,
        report.variables,
        images,
        made.shape,
        ["image", "data", "rebuilt"],
        report.folder / "plots" / "reconstructions.png",
        "held-out images",
    )
