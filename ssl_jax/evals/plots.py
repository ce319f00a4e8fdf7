"""What plots share: curves of runs, heat maps, and how figures look and are saved."""

import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from etils import epath

from ssl_jax.evals.figure_formats import also_chosen
from ssl_jax.evals.metric_names import is_share, kind, plot_title, shown
from ssl_jax.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLOURS = (
    *("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#efb118"),
    *("#6cc5b0", "#9c6b4e", "#97bbf5", "#ff8ab7", "#3d4350"),
)

UNDATED = {"CreationDate": None, "Creator": None, "Producer": None}
"""Metadata of a PDF, so that equal figures give equal files."""
MOST_POINTS = 1000
"""Points of a curve; a figure has fewer pixels side by side, and a run may have a hundred thousand."""


def save_figure(figure: "Figure", file: epath.Path) -> None:
    """Writes a figure as PNG, and beside it in the formats of `also_as`. UserError if it cannot be written."""
    file = epath.Path(file)
    contents = {".png": _encoded(figure, "png", dpi=120)}
    for form in also_chosen():
        contents[f".{form}"] = svg(figure) if form == "svg" else _encoded(figure, form, metadata=UNDATED)
    for suffix, content in contents.items():
        write_whole(file.with_suffix(suffix), content)


def _encoded(figure: "Figure", kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format=kind, bbox_inches="tight", **how)
    return out.getvalue()


def svg(figure: "Figure") -> bytes:
    """A figure as SVG, with its text as text; equal figures give equal files."""
    from matplotlib import rc_context

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ssl_jax"}):
        return _encoded(figure, "svg", metadata={"Date": None, "Creator": None})


def save_figures(figures: Mapping[str, "Figure"], folder: epath.Path) -> list[epath.Path]:
    """Writes each figure as NAME.png in a folder, and returns the files."""
    files = [epath.Path(folder) / f"{name}.png" for name in figures]
    for figure, file in zip(figures.values(), files, strict=True):
        save_figure(figure, file)
    return files


def new_figure(inches: tuple[float, float], layout: str | None = None) -> "Figure":
    """An empty figure of a width and height in inches; `layout` as matplotlib's."""
    # Matplotlib takes a second to import, and most commands draw when they are done: nothing imports it at the start.
    from matplotlib.figure import Figure

    return Figure(figsize=inches, layout=layout)


def percent(axis: "Axis") -> None:
    """Labels an axis of shares in percent."""
    from matplotlib.ticker import PercentFormatter

    axis.set_major_formatter(PercentFormatter(1.0))


def logarithmic_ticks(axis: "Axis") -> None:
    """Labels a logarithmic axis at 1, 2 and 5 times the powers of ten."""
    from matplotlib.ticker import LogLocator

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_ticks([], minor=True)


def new_axes(*, title: str, width: float = 7.0, height: float = 4.2) -> tuple["Figure", "Axes"]:
    """An empty coordinate system with a light grid; width and height in inches."""
    figure = new_figure((width, height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def draw_matrix(
    values: Sequence[Sequence[float]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    labels: tuple[str, str],
) -> "Figure":
    """Shares between 0 and 1 as a heat map with the numbers in it.

    Args:
      values: `[rows, columns]`.
      rows, columns: names of these.
      title: at the top.
      labels: of the axes, that of the columns first.
    """
    figure, axes = new_axes(title=title, width=1.6 + 0.85 * len(columns), height=1.2 + 0.5 * len(rows))
    axes.grid(visible=False)
    axes.imshow(values, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.tick_params(length=0)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            axes.text(
                j, i, f"{value:.0%}", ha="center", va="center", color="white" if value > 0.6 else "black"
            )
    return figure


def draw_curves(
    runs: Mapping[str, Iterable[Mapping[str, Any]]],
    names: Iterable[str],
    baselines: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, "Figure"]:
    """Metrics of one or several runs against the step.

    Training is a thin line, evaluation a line with dots, dashed for a second held-out set. Every metric of every run
    has a colour of its own.

    Args:
      runs: by label, lines of metrics.jsonl.
      names: of the metrics.
      baselines: by metric, values without a training by name, drawn as dashed lines.

    Returns:
      A figure for each kind of metric that the runs have, by kind. Where not all runs have the same metrics of a kind,
      as runs with different objectives, there is one for those of the same runs, by the name of the first of them.
    """
    from matplotlib.ticker import MaxNLocator

    runs = {label: list(lines) for label, lines in runs.items()}
    figures = {}
    for group, members in _groups(runs, [*dict.fromkeys(names)]).items():
        figure, axes = new_axes(title=_plain(plot_title(members[0] if len(members) == 1 else group)))
        curves = itertools.product(runs, members)
        colours = {  # a run has the same one in every figure, whatever the others lack
            (label, name): colour
            for (label, name), colour in zip(curves, itertools.cycle(COLOURS), strict=False)
            if any(name in line for line in runs[label])
        }
        having = [line for lines in runs.values() for line in lines if any(name in line for name in members)]
        styles = _styles(dict.fromkeys(line.get("split") for line in having))
        for label, name in colours:
            for split, style in styles.items():
                points = [
                    (li["step"], li[name]) for li in runs[label] if li.get("split") == split and name in li
                ]
                if points:
                    text = " ".join([*([label] if len(runs) > 1 else []), name, split or "train"])
                    alone = {"marker": "o", "markersize": 3.5} if len(points) == 1 else {}
                    axes.plot(*_thinned(points), color=colours[label, name], label=text, **style | alone)
        levels = [level for name in members for level in baselines.get(name, {}).items()]
        for number, (name, value) in enumerate(sorted(levels, key=lambda level: -level[1])):
            colour = COLOURS[-1 - number % len(COLOURS)]
            text = f"{name} {shown(members[0], value)}"
            axes.axhline(value, color=colour, linewidth=1, linestyle="--", label=text)
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))
        if all(map(is_share, members)):
            percent(axes.yaxis)
            axes.set_ylim(bottom=0)
        several = (len(runs) > 1, len(members) > 1)
        _add_legend(axes, several, colours, styles, axes.lines[len(axes.lines) - len(levels) :])
        figures[group] = figure
    return figures


def _styles(splits: Iterable[str | None]) -> dict[str | None, dict[str, Any]]:
    """How training (None) and each held-out set are drawn."""
    dashes = itertools.cycle(("-", "--", ":", "-."))
    return {
        split: {"marker": "o", "markersize": 3.5, "linewidth": 1.8, "linestyle": next(dashes)}
        if split
        else {"linewidth": 0.9, "alpha": 0.7}
        for split in splits
    }


def _add_legend(
    axes: "Axes",
    several: tuple[bool, bool],
    colours: Mapping[tuple[str, str], str],
    styles: Mapping[str | None, Mapping[str, Any]],
    levels: Sequence["Line2D"],
) -> None:
    """A legend that names each colour, each style and each baseline once.

    Args:
      axes: with the curves.
      several: whether runs, and whether metrics have to be told apart.
      colours: by run and metric.
      styles: see `_styles`.
      levels: the lines of the baselines.
    """
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=colour, label=" ".join(itertools.compress(pair, several)))
        for pair, colour in colours.items()
        if any(several)
    ]
    colour = "#555555" if entries else next(iter(colours.values()))
    entries += [Line2D([], [], color=colour, label=split or "train", **how) for split, how in styles.items()]
    entries += levels
    labels = [_plain(entry.get_label()) for entry in entries]
    below = {"loc": "upper left", "bbox_to_anchor": (0, -0.14), "ncols": 2}
    axes.legend(entries, labels, frameon=False, fontsize=8, **(below if len(entries) > 4 else {}))


def _thinned(points: Sequence[tuple[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of at most `MOST_POINTS` points: of more, the means of as many that follow each other."""
    steps, values = np.array(points, np.float64).T
    parts = min(MOST_POINTS, len(points))
    starts = np.arange(parts) * len(points) // parts
    counts = np.diff([*starts, len(points)])
    return tuple(np.add.reduceat(numbers, starts) / counts for numbers in (steps, values))


def _plain(text: str) -> str:
    """A text in which "$" begins no formula."""
    return text.replace("$", r"\$")


def _groups(runs: Mapping[str, Sequence[Mapping[str, Any]]], names: Sequence[str]) -> dict[str, list[str]]:
    """The metrics of each figure, by its name: those of one kind that the same runs have."""
    groups = {}
    for group in dict.fromkeys(map(kind, names)):
        parts: dict[tuple[str, ...], list[str]] = {}
        for name in (name for name in names if kind(name) == group):
            having = tuple(label for label, lines in runs.items() if any(name in line for line in lines))
            if having:
                parts.setdefault(having, []).append(name)
        groups |= {group if len(parts) == 1 else part[0]: part for part in parts.values()}
    return groups
