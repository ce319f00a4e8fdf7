"""Pictures of representations: grids of images, maps of features, bars of metrics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from ssl_jax.evals.plots import COLOURS, new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SAME, OTHER = COLOURS[2], COLOURS[1]
"""Frames of a neighbour with the query's label, and of one with another."""

UNLABELLED = "#cccccc"
QUIET = "#555555"
CELL, GAP = 0.9, 0.12
"""Inches of a cell, and the space beside it as a share of the cell."""

CAPTION = 0.25
"""Height of a line below a cell, as a share of the cell."""

LONG_NAME = 12
"""Letters over a cell; longer names are written smaller, or they run into each other."""

MOST_NAMED = 20
"""Classes that a legend can tell apart."""
TSNE_INPUTS = 50
"""t-SNE starts from this many principal components, as usual: it is faster, and distances are less noisy."""

Grid = Sequence[Sequence[np.ndarray]]


def draw_grid(
    rows: Grid,
    *,
    columns: Sequence[str] = (),
    names: Sequence[str] = (),
    captions: Sequence[Sequence[str]] = (),
    frames: Sequence[Sequence[str | None]] = (),
    title: str = "",
    note: str = "",
) -> "Figure":
    """A grid of small pictures, such as an image and its views in each row.

    Args:
      rows: images `[height, width]`, `[height, width, 1]` or `[height, width, 3]`, uint8, or float in [0, 1]; each is
        scaled to its cell, whatever its size, and keeps its shape.
      columns: names of the columns.
      names: of the rows, left of them.
      captions: for each cell, a short text below it.
      frames: for each cell, the colour of a frame around it or None.
      title: at the top.
      note: below the grid.
    """
    height, width = len(rows), max(map(len, rows))
    pitch = 1 + CAPTION if captions else 1.0
    figure = new_figure((width * CELL, height * CELL * pitch))
    axes = figure.add_axes((0, 0, 1, 1))
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            _draw_cell(axes, np.asarray(image), x, pitch * y, frames[y][x] if frames else None)
            if captions:
                axes.text(x, pitch * y + 0.47, captions[y][x], ha="center", va="top", fontsize=6, color=QUIET)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(pitch * height - 0.5, -0.5), aspect="equal")
    axes.axis("off")
    for y, name in enumerate(names):
        axes.text(-0.6, pitch * y, name, ha="right", va="center", fontsize=8, color=QUIET)
    lines = [line for name in columns for line in name.split("\n")]
    size = 9 if max(map(len, lines), default=0) <= LONG_NAME else 7
    for x, name in enumerate(columns):
        axes.text(x, -0.53, name, ha="center", va="bottom", fontsize=size, color=QUIET)
    if title:
        above = 0.25 * max((1 + name.count("\n") for name in columns), default=0)
        axes.text(-0.46, -0.58 - above, title, ha="left", va="bottom", fontsize=11)
    if note:
        axes.text(-0.46, pitch * height - 0.42, note, ha="left", va="top", fontsize=8, color=QUIET)
    return figure


def draw_neighbours(
    queries: Sequence[np.ndarray],
    query_labels: np.ndarray,
    neighbours: Grid,
    neighbour_labels: np.ndarray,
    *,
    title: str = "nearest neighbours",
) -> "Figure":
    """Each query image and its nearest neighbours, framed by whether they have its label.

    Args:
      queries: images.
      query_labels: int `[queries]`, -1 for none; neighbours without a label, or of a query without one, get no frame.
      neighbours: k images for each query, the nearest first.
      neighbour_labels: int `[queries, k]`, -1 for none.
      title: at the top.
    """
    labels = np.asarray(query_labels)[:, None]
    known = (labels >= 0) & (np.asarray(neighbour_labels) >= 0)
    same = np.asarray(neighbour_labels) == labels
    colours = np.where(known, np.where(same, SAME, OTHER), None)
    return draw_grid(
        [[query, *found] for query, found in zip(queries, neighbours, strict=True)],
        columns=["query", *map(str, range(1, same.shape[1] + 1))],
        frames=[[None, *row] for row in colours],
        title=title,
        note="green: the query's class, red: another" if known.any() else "",
    )


def draw_map(
    features: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    method: Literal["pca", "tsne", "plane"] = "pca",
    points: int = 2000,
    seed: int = 0,
    title: str = "",
) -> "Figure":
    """A map of features in two dimensions, coloured by label; the same for the same seed.

    Args:
      features: float32 `[examples, width]`, drawn without standardisation.
      labels: int `[examples]`, -1 for unlabelled.
      classes: names by label; a label without a name is shown as a number.
      method: "pca", the plane of the greatest variance; "tsne" (van der Maaten and Hinton 2008), which keeps near what
        is near; "plane", the features themselves, of width 1 or 2.
      points: how many examples are drawn at most, a seeded choice.
      seed: of that choice and of t-SNE.
      title: at the top.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(features))[
        :points
    ]  # in random order, so that no class lies on top of all others
    labels = np.asarray(labels)[chosen]
    places, axis_names = _project(np.asarray(features)[chosen], method, seed)
    figure, axes = new_axes(title=title or f"{len(chosen)} examples by their features", width=6.4, height=5.2)
    known = np.unique(labels[labels >= 0])
    colours = dict(zip(known.tolist(), _palette(len(known)), strict=True))
    size = float(np.clip(12_000 / len(chosen), 6, 30))
    axes.scatter(
        *places.T,
        s=size,
        c=[colours.get(int(label), UNLABELLED) for label in labels],
        alpha=0.8,
        linewidths=0,
    )
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(axis_names[0], fontsize=9, color=QUIET)
    axes.set_ylabel(axis_names[1], fontsize=9, color=QUIET)
    axes.spines[["left", "bottom"]].set_visible(False)
    if 0 < len(known) <= MOST_NAMED:
        names = {label: classes[label] if label < len(classes) else str(label) for label in colours}
        if (labels < 0).any():
            names[-1], colours[-1] = "unlabelled", UNLABELLED
        handles = [
            axes.scatter([], [], s=30, color=colours[label], label=name) for label, name in names.items()
        ]
        axes.legend(handles=handles, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_bars(
    metrics: Mapping[str, Mapping[str, float]],
    *,
    deviations: Mapping[str, Mapping[str, float]] | None = None,
    title: str = "",
) -> "Figure":
    """Shares in [0, 1] as grouped bars with their values: a group for each metric, a colour for each name.

    Args:
      metrics: by name, such as "trained", then by metric; a name may lack some.
      deviations: likewise, drawn as whiskers.
      title: at the top.
    """
    groups = list(dict.fromkeys(metric for row in metrics.values() for metric in row))
    width = 0.84 / len(metrics)
    figure, axes = new_axes(title=title, width=max(4.0, 0.9 + 0.55 * len(groups) * (len(metrics) + 0.5)))
    for number, (name, row) in enumerate(metrics.items()):
        at = [place for place, group in enumerate(groups) if group in row]
        heights = [row[groups[place]] for place in at]
        spread = [(deviations or {}).get(name, {}).get(groups[place], 0.0) for place in at]
        shift = (number - (len(metrics) - 1) / 2) * width
        bars = axes.bar(
            [place + shift for place in at],
            heights,
            0.92 * width,
            color=COLOURS[number % len(COLOURS)],
            label=name,
        )
        tops = [height + deviation for height, deviation in zip(heights, spread, strict=True)]
        for bar, height, deviation, top in zip(bars, heights, spread, tops, strict=True):
            centre = bar.get_x() + bar.get_width() / 2
            if deviation:
                axes.plot([centre] * 2, [height - deviation, top], color="#333333", linewidth=1)
            axes.annotate(
                f"{height:.1%}".removesuffix("%"),
                (centre, top),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
            )
    axes.set_xticks(range(len(groups)), groups, fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.08)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{share:.0%}" for share in np.linspace(0, 1, 6)])
    axes.grid(visible=False, axis="x")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _draw_cell(axes: "Axes", image: np.ndarray, x: float, y: float, frame: str | None) -> None:
    if image.ndim == 3 and image.shape[-1] == 1:
        image = image[..., 0]
    if image.dtype != np.uint8:
        image = np.clip(np.nan_to_num(image.astype(np.float32)), 0, 1)
    half = (1 - GAP) / 2 * np.array(image.shape[:2]) / max(image.shape[:2])
    axes.imshow(
        image,
        cmap="gray",
        vmin=0,
        vmax=255 if image.dtype == np.uint8 else 1,
        extent=(x - half[1], x + half[1], y + half[0], y - half[0]),
        interpolation="nearest" if max(image.shape[:2]) < 64 else "antialiased",
    )
    if frame:
        from matplotlib.patches import Rectangle

        corner = (x - half[1], y - half[0])
        axes.add_patch(
            Rectangle(corner, 2 * half[1], 2 * half[0], fill=False, edgecolor=frame, linewidth=2.5)
        )


def _palette(count: int) -> list:
    if count <= len(COLOURS):
        return list(COLOURS[:count])
    from matplotlib import colormaps

    return list(colormaps["turbo"](np.linspace(0.03, 0.97, count)))


def _project(features: np.ndarray, method: str, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Places `[examples, 2]` and the names of the axes."""
    if method == "plane":
        places = np.pad(features, ((0, 0), (0, max(0, 2 - features.shape[1]))))
        return places, ("first number", "second number")
    from sklearn.decomposition import PCA  # takes a second that the start of a run need not wait for
    from sklearn.manifold import TSNE

    if min(features.shape) <= 2 or not np.ptp(features, axis=0).any():
        method = "pca"  # nothing to unfold; scikit-learn's t-SNE crashes where nothing varies
    components = min(2 if method == "pca" else TSNE_INPUTS, *features.shape)
    # Shares of the variance are 0 / 0 where nothing varies.
    with threadpool_limits(1), np.errstate(divide="ignore", invalid="ignore"):
        pca = PCA(components, svd_solver="full", random_state=seed)
        places = pca.fit_transform(features.astype(np.float64))
        if method == "tsne":
            perplexity = min(30.0, max(1.0, (len(features) - 1) / 3))
            places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(places)
            return places, ("t-SNE", "")
    places = np.pad(places, ((0, 0), (0, 2 - components)))
    shares = np.pad(np.nan_to_num(pca.explained_variance_ratio_), (0, 2 - components))
    return places, tuple(
        f"principal component {i + 1} ({share:.0%} of variance)" for i, share in enumerate(shares)
    )
