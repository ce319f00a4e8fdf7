"""Reconstruction of images from small codes: PCA as the best linear way, and errors by the size of the code."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.evals.plots import COLOURS, logarithmic_ticks, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pca(NamedTuple):
    """Principal components.

    Attributes:
      mean: float32 `[pixels]`.
      directions: float32 `[components, pixels]`, orthonormal, by falling variance.
    """

    mean: np.ndarray
    directions: np.ndarray


def fit_pca(pixels: np.ndarray, components: int, *, seed: int = 0) -> Pca:
    """PCA of images.

    Args:
      pixels: float32 `[images, pixels]`.
      components: how many; fewer are fitted where there are fewer images or pixels.
      seed: of the randomised method, which scikit-learn takes for many pixels.
    """
    from sklearn.decomposition import PCA  # takes a second that the start of a run need not wait for

    # Shares of the variance, which are not asked for, are 0 / 0 where nothing varies or there is a single image.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
        fitted = PCA(min(components, *pixels.shape), random_state=seed).fit(pixels)
    return Pca(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32))


def pca_code(pca: Pca, pixels: jax.Array, size: int) -> jax.Array:
    """Codes `[batch, size]` of `pixels [batch, pixels]` along the first `size` components, or all that there are."""
    centred = pixels - jnp.asarray(pca.mean)[None]
    return jnp.matmul(centred, jnp.asarray(pca.directions)[:size].T, precision="highest")


def pca_reconstruction(pca: Pca, pixels: jax.Array, size: int) -> jax.Array:
    """Reconstruction of `pixels [batch, pixels]` from their `pca_code`; of size 0 it is the mean image.

    It is clipped to [0, 1], where pixels are, which only reduces its error.
    """
    code = pca_code(pca, pixels, size)
    reconstruction = jnp.matmul(code, jnp.asarray(pca.directions)[:size], precision="highest")
    return jnp.clip(reconstruction + jnp.asarray(pca.mean)[None], 0, 1)


def pca_errors(pca: Pca, pixels: jax.Array, sizes: Sequence[int]) -> jax.Array:
    """Mean squared errors of a pixel, `[batch, sizes]`, of the reconstructions from codes of these sizes."""
    errors = [jnp.square(pca_reconstruction(pca, pixels, size) - pixels).mean(-1) for size in sizes]
    return jnp.stack(errors, -1)


def draw_by_size(
    curves: Mapping[str, Mapping[int, float]],
    *,
    title: str,
    metric: str,
    levels: Mapping[str, float] | None = None,
    deviations: Mapping[str, Mapping[int, float]] | None = None,
    share: bool = False,
) -> "Figure":
    """A metric against the size of the code, which is drawn by doublings, with a curve for each method.

    Args:
      curves: by method, then by code size.
      title: at the top.
      metric: its name, for the axis.
      levels: of methods without a code size; dashed.
      deviations: by method, then by code size; drawn as whiskers.
      share: whether the metric is a share in [0, 1]; otherwise it is an error, on a logarithmic axis if it never
        vanishes.
    """
    figure, axes = new_axes(title=title)
    for (name, row), colour in zip(curves.items(), COLOURS, strict=False):
        sizes = sorted(row)
        spread = [(deviations or {}).get(name, {}).get(size, 0.0) for size in sizes]
        axes.errorbar(
            sizes,
            [row[size] for size in sizes],
            yerr=spread if any(spread) else None,
            marker="o",
            markersize=4,
            capsize=2,
            elinewidth=0.9,
            color=colour,
            label=name,
        )
    for (name, level), colour in zip((levels or {}).items(), COLOURS[len(curves) :], strict=False):
        axes.axhline(level, color=colour, linewidth=1.1, linestyle="--", label=name)
    axes.set_xscale("log", base=2)
    every = sorted({size for row in curves.values() for size in row})
    axes.set_xticks(every, map(str, every))
    axes.xaxis.set_ticks([], minor=True)
    values = [*(value for row in curves.values() for value in row.values()), *(levels or {}).values()]
    if share:
        axes.set_ylim(0, 1.02)
        axes.set_yticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    elif min(values) > 0:
        axes.set_yscale("log")
        logarithmic_ticks(axes.yaxis)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("code size")
    axes.set_ylabel(metric)
    axes.legend(frameon=False, fontsize=8)
    return figure
