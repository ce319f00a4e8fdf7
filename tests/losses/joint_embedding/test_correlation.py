"""Barlow Twins and VICReg against NumPy written from the papers, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssl_jax.losses.joint_embedding import barlow_twins, vicreg
from tests.losses.joint_embedding.numerics import check_gradient, value

BATCH, WIDTH = 24, 6


def correlated(batch=BATCH, width=WIDTH, seed=0):
    """Two noisy views of vectors whose features are correlated and of different scale and mean."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(batch, width)) @ rng.normal(size=(width, width)) * 0.4 + rng.normal(size=width)
    return tuple((shared + 0.5 * rng.normal(size=shared.shape)).astype(np.float32) for _ in range(2))


def off_diagonal(matrix):
    return matrix[~np.eye(len(matrix), dtype=bool)]


def barlow_twins_of_the_paper(first, second, redundancy):
    """arXiv:2103.03230, equations 1 and 2; the correlation of features with 1e-5 in the variance, as BatchNorm has."""
    a, b = (z.astype(np.float64) - z.mean(0, dtype=np.float64) for z in (first, second))
    correlation = np.empty((a.shape[1], b.shape[1]))
    for i, j in np.ndindex(correlation.shape):
        norms = [np.sqrt(np.mean(column**2) + 1e-5) for column in (a[:, i], b[:, j])]
        correlation[i, j] = np.mean(a[:, i] * b[:, j]) / np.prod(norms)
    return ((1 - np.diag(correlation)) ** 2).sum() + redundancy * (off_diagonal(correlation) ** 2).sum()


def vicreg_of_the_code(first, second):
    """arXiv:2105.04906, equations 1 to 5, averaged as facebookresearch/vicreg does."""
    views = [z.astype(np.float64) for z in (first, second)]
    hinges = [np.maximum(0, 1 - np.sqrt(z.var(0, ddof=1) + 1e-4)).mean() for z in views]
    overlaps = [(off_diagonal(np.cov(z.T)) ** 2).sum() / z.shape[1] for z in views]
    return {
        "invariance": ((views[0] - views[1]) ** 2).mean(),
        "variance": sum(hinges) / 2,
        "covariance": sum(overlaps),
    }


@jax.jit
def jitted_barlow(first, second, weights, redundancy):
    return barlow_twins(first, second, weights, redundancy=redundancy)


@pytest.mark.parametrize("redundancy", [0.0, 5e-3, 1.0])
def test_barlow_twins_is_the_papers(redundancy):
    first, second = correlated()
    ours = value(jitted_barlow(first, second, jnp.ones(BATCH), redundancy))
    assert ours == pytest.approx(barlow_twins_of_the_paper(first, second, redundancy), rel=1e-5)
    pearson = np.corrcoef(first.T, second.T)[:WIDTH, WIDTH:]
    wanted = ((1 - np.diag(pearson)) ** 2).sum() + redundancy * (off_diagonal(pearson) ** 2).sum()
    assert ours == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_vicreg_is_the_authors(scale):
    """At a small scale the hinge is at work in every feature, at a large one in none."""
    first, second = (np.float32(scale) * z for z in correlated())
    ours = {name: value(mean) for name, mean in jax.jit(vicreg)(first, second, jnp.ones(BATCH)).items()}
    wanted = vicreg_of_the_code(first, second)
    assert ours == pytest.approx(wanted, rel=2e-5, abs=1e-7)
    assert (wanted["variance"] > 0) == (scale < 3)


def test_gradients_are_the_slopes_of_the_papers_formulas():
    first, second = correlated(8, 3)
    check_gradient(
        lambda z: barlow_twins(z, second, jnp.ones(8), redundancy=0.3),
        lambda z: barlow_twins_of_the_paper(z, second, 0.3),
        first,
        rtol=1e-4,
        atol=1e-5,
    )
    for name in ("invariance", "variance", "covariance"):
        check_gradient(
            lambda z, name=name: vicreg(z, second, jnp.ones(8))[name],
            lambda z, name=name: vicreg_of_the_code(z, second)[name],
            first,
            rtol=1e-4,
            atol=1e-5,
        )
