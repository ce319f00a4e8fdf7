"""Curves of runs, as people look at them: one picture per kind of figure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

COLOURS = (
    *("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#efb118"),
    *("#6cc5b0", "#9c6b4e", "#97bbf5", "#ff8ab7", "#3d4350"),
)


def save_figure(figure: Figure, file: epath.Path) -> None:
    """Writes a PNG, also to an object store."""
    file = epath.Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as out:
        figure.savefig(out, format="png", dpi=120, bbox_inches="tight")


def new_axes(*, title: str, width: float = 7.0, height: float = 4.2) -> tuple[Figure, Axes]:
    """An empty, quiet coordinate system."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def draw_matrix(
    values: Sequence[Sequence[float]],
    file: epath.Path,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    labels: tuple[str, str],
) -> None:
    """Draws shares between 0 and 1 as a heat map with the numbers in it.

    labels: of the columns and of the rows.
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
    save_figure(figure, file)


def kind(name: str) -> str:
    """Figures that share a last word share a picture: mlm_loss and nsp_loss are of the kind loss.

    One thing per another is a kind by itself, such as bits_per_byte.
    """
    return name if "_per_" in name else name.rsplit("_", 1)[-1]


def draw_curves(
    runs: Mapping[str, Iterable[Mapping[str, Any]]], folder: epath.Path, names: Iterable[str]
) -> list:
    """Draws the given figures of one or several runs against the step.

    runs: by label, lines of metrics.jsonl. Training is a thin line, evaluation a line with dots, runs differ by colour
    when there are several, figures otherwise. Returns the files written: folder/<kind>.png.
    """
    names = list(names)
    files = []
    for group in dict.fromkeys(kind(name) for name in names):
        figure, axes = new_axes(title=group.replace("_", " "))
        curves = 0
        for number, (label, lines) in enumerate(runs.items()):
            lines = list(lines)
            for order, name in enumerate(n for n in names if kind(n) == group):
                colour = COLOURS[(order if len(runs) == 1 else number) % len(COLOURS)]
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
                        {"marker": "o", "markersize": 3.5, "linewidth": 1.8}
                        if split
                        else {"linewidth": 0.9, "alpha": 0.7}
                    )
                    axes.plot(*zip(*points, strict=True), color=colour, label=text, **style)
                    curves += 1
        if not curves:
            continue
        axes.set_xlabel("step")
        if group == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.set_ylim(bottom=0)
        place = {"loc": "center left", "bbox_to_anchor": (1, 0.5)} if len(axes.lines) > 8 else {}
        axes.legend(frameon=False, fontsize=8, **place)
        files.append(epath.Path(folder) / f"{group}.png")
        save_figure(figure, files[-1])
    return files
