"""What plots share: curves of runs, heat maps, and how figures look and are saved."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ssl_jax.files import whole

COLOURS = (
    *("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#efb118"),
    *("#6cc5b0", "#9c6b4e", "#97bbf5", "#ff8ab7", "#3d4350"),
)


def save_figure(figure: Figure, file: epath.Path) -> None:
    """Writes a figure as PNG. Raises UserError if it cannot be written."""
    with whole(epath.Path(file)) as draft, draft.open("wb") as out:
        figure.savefig(out, format="png", dpi=120, bbox_inches="tight")


def save_figures(figures: Mapping[str, Figure], folder: epath.Path) -> list[epath.Path]:
    """Writes each figure as NAME.png in a folder, and returns the files."""
    files = [epath.Path(folder) / f"{name}.png" for name in figures]
    for figure, file in zip(figures.values(), files, strict=True):
        save_figure(figure, file)
    return files


def new_axes(*, title: str, width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty coordinate system with a light grid; width and height in inches."""
    figure = Figure(figsize=(width, height))
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
) -> Figure:
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


def kind(name: str) -> str:
    """The kind of a metric, which is its last word; metrics of one kind share a plot.

    One thing per another is a kind by itself.

    Example:
      >>> kind("mlm_loss"), kind("nsp_loss"), kind("bits_per_byte")
      ('loss', 'loss', 'bits_per_byte')
    """
    return name if "_per_" in name else name.rsplit("_", 1)[-1]


def draw_curves(
    runs: Mapping[str, Iterable[Mapping[str, Any]]],
    names: Iterable[str],
    baselines: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> dict[str, Figure]:
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
    runs = {label: list(lines) for label, lines in runs.items()}
    figures = {}
    for title, group in _groups(runs, list(names)).items():
        figure, axes = new_axes(title=title.replace("_", " "))
        curves = 0
        for number, (label, lines) in enumerate(runs.items()):
            for order, name in enumerate(group):
                colour = COLOURS[(number * len(group) + order) % len(COLOURS)]
                dashes = itertools.cycle(("-", "--", ":", "-."))
                for split in dict.fromkeys(line.get("split") for line in lines):
                    points = [
                        (li["step"], li[name]) for li in lines if li.get("split") == split and name in li
                    ]
                    if not points:
                        continue
                    text = " ".join(
                        part for part in (label if len(runs) > 1 else "", name, split or "train") if part
                    )
                    style = (
                        {"marker": "o", "markersize": 3.5, "linewidth": 1.8, "linestyle": next(dashes)}
                        if split
                        else {"linewidth": 0.9, "alpha": 0.7}
                    )
                    axes.plot(*zip(*points, strict=True), color=colour, label=text, **style)
                    curves += 1
        if not curves:
            continue
        percent = kind(title) == "accuracy"
        levels = [level for name in group for level in baselines.get(name, {}).items()]
        for number, (name, value) in enumerate(sorted(levels, key=lambda level: -level[1])):
            label = f"{name} {value:{'.1%' if percent else '.4g'}}"
            colour = COLOURS[-1 - number % len(COLOURS)]
            axes.axhline(value, color=colour, linewidth=1, linestyle="--", label=label)
        axes.set_xlabel("step")
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            axes.set_ylim(bottom=0)
        outside = levels or len(axes.lines) > 8
        place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if outside else {}
        axes.legend(frameon=False, fontsize=8, **place)
        figures[title] = figure
    return figures


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
