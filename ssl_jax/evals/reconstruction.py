"""Images rebuilt from a few numbers: by PCA, the best linear way, and how errors fall with their number."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from matplotlib.ticker import LogLocator, NullLocator
from threadpoolctl import threadpool_limits

from ssl_jax.evals.plots import COLOURS, new_axes, save_figure
from ssl_jax.evals.tables import aligned


class Pca(NamedTuple):
    """Principal components: float32 `mean [pixels]`, and orthonormal `directions [components, pixels]` by variance."""

    mean: np.ndarray
    directions: np.ndarray


def fit_pca(pixels: np.ndarray, components: int, *, seed: int = 0) -> Pca:
    """Of float32 `[images, pixels]`; fewer components where there are fewer images or pixels.

    seed: of the randomised method, which scikit-learn takes for many pixels.
    """
    from sklearn.decomposition import PCA  # takes a second that the start of a run need not wait for

    # Shares of the variance, which are not asked for, are 0 / 0 where nothing varies or there is a single image.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
        fitted = PCA(min(components, *pixels.shape), random_state=seed).fit(pixels)
    return Pca(fitted.mean_.astype(np.float32), fitted.components_.astype(np.float32))


def pca_code(pca: Pca, pixels: jax.Array, size: int) -> jax.Array:
    """[batch, size] of [batch, pixels]: places along the first `size` components, or all if there are fewer."""
    centred = pixels - jnp.asarray(pca.mean)[None]
    return jnp.matmul(centred, jnp.asarray(pca.directions)[:size].T, precision="highest")


def pca_rebuild(pca: Pca, pixels: jax.Array, size: int) -> jax.Array:
    """[batch, pixels] rebuilt from `pca_code`, cut off at 0 and 1 as pixels are, which only brings them nearer.

    Of size 0 it is the mean image.
    """
    rebuilt = jnp.matmul(pca_code(pca, pixels, size), jnp.asarray(pca.directions)[:size], precision="highest")
    return jnp.clip(rebuilt + jnp.asarray(pca.mean)[None], 0, 1)


def share(error: float, of: float) -> float | None:
    """`error / of`, and None where there is nothing to take a share of: images that are all the same."""
    return error / of if of > 0 else None


def size_table(errors: Mapping[str, Mapping[int, float]], mean_image: float) -> list[str]:
    """Lines: for each code size, the error by each method, and in percent of the mean image's.

    errors: by method, then by code size.
    """
    sizes = sorted({size for row in errors.values() for size in row})

    def cell(error: float) -> str:
        relative = share(error, mean_image)
        return f"{error:.5f}" + ("" if relative is None else f" ({relative:6.1%})")

    body = [[str(size), *(cell(row[size]) for row in errors.values())] for size in sizes]
    return aligned([["numbers in the code", *errors], *body])


def draw_by_size(
    curves: Mapping[str, Mapping[int, float]],
    file: epath.Path,
    *,
    title: str,
    figure: str,
    levels: Mapping[str, float] | None = None,
    deviations: Mapping[str, Mapping[int, float]] | None = None,
    share: bool = False,
) -> None:
    """A figure against the size of the code, a curve for each method, by doublings of the size.

    Args:
      curves: by method, then by code size.
      figure: its name, for the axis.
      levels: of what has no code size; dashed.
      deviations: as `curves`; drawn as whiskers.
      share: the figure is one in [0, 1]; otherwise it is an error, and drawn by its logarithm if it never vanishes.
    """
    picture, axes = new_axes(title=title)
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
    axes.xaxis.set_minor_locator(NullLocator())
    values = [*(value for row in curves.values() for value in row.values()), *(levels or {}).values()]
    if share:
        axes.set_ylim(0, 1.02)
        axes.set_yticks(np.linspace(0, 1, 6), [f"{tick:.0%}" for tick in np.linspace(0, 1, 6)])
    elif min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("numbers in the code")
    axes.set_ylabel(figure)
    axes.legend(frameon=False, fontsize=8)
    save_figure(picture, file)
