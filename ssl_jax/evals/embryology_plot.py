"""What is learnt when, drawn: a figure for each question, over logarithmic steps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_jax.evals.embryology import AT_EQUAL_FREQUENCY, KINDS
from ssl_jax.evals.learning_curves import log_spaced
from ssl_jax.evals.plots import COLOURS, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLES = ("-", "--")
"""Of classes of words; there are more of them than colours."""
TICKS = 6


def draw_embryology(values: Mapping[str, Any]) -> dict[str, "Figure"]:
    """Every run is a thin line, the mean of the runs a thick one; baselines are horizontal lines.

    Args:
      values: what embryology.json holds.

    Returns:
      By name: `predicted` and `reconstructed` (classes of words, left as they are, right at equal frequency),
      `predicted_by_class` (a panel for each class, with its n-gram baseline), `probes`, and if they were measured
      `cloze` and `downstream`.
    """
    steps = values["steps"]
    figures = {kind: _draw_kind(values, kind) for kind in ("predicted", "reconstructed")}
    figures["predicted_by_class"] = _draw_classes(values)
    if values["probes"]:
        figures["probes"] = _draw_probes(values)
    if cloze := values["cloze"]:
        figure, [axes] = _panels(["facts: the right word in the place of the blank"], steps)
        names = (("precision", "most probable (P@1)"), ("mean_reciprocal_rank", "mean of 1 / place (MRR)"))
        for (key, label), colour in zip(names, COLOURS, strict=False):
            _draw_runs(axes, steps, cloze[key].values(), color=colour, label=label)
        axes.set_ylabel("share of the facts", fontsize=9)
        _finish(axes)
        figures["cloze"] = figure
    if downstream := values["downstream"]:
        figure, panels = _panels([*downstream["tasks"]], downstream["steps"])
        for axes, metrics in zip(panels, downstream["tasks"].values(), strict=True):
            for (metric, by_run), colour in zip(metrics.items(), COLOURS, strict=False):
                _draw_runs(
                    axes, downstream["steps"], by_run.values(), color=colour, label=metric.replace("_", " ")
                )
            axes.set_ylabel("on held-out examples", fontsize=9)
            _finish(axes)
        figures["downstream"] = figure
    return figures


def _draw_kind(values: Mapping[str, Any], kind: str) -> "Figure":
    """All classes in one panel, and beside it at equal frequency."""
    classes, equal = values["classes"], values["equal_frequency"]
    kinds = [kind] + ([kind + AT_EQUAL_FREQUENCY] if equal else [])
    titles = [KINDS[kind]]
    if equal:
        titles.append(
            f"the same at equal frequency ({equal['lowest']:,} to {equal['highest']:,} times in training)"
        )
    figure, panels = _panels(titles, values["steps"])
    looks = {
        name: {"color": COLOURS[i % len(COLOURS)], "linestyle": STYLES[i // len(COLOURS) % len(STYLES)]}
        for i, name in enumerate(classes)
    }
    for axes, one in zip(panels, kinds, strict=True):
        for name, of_class in classes.items():
            if one in of_class:
                label = f"{name} ({of_class[one]['words']:,} words)"
                _draw_runs(
                    axes, values["steps"], of_class[one]["curves"].values(), label=label, **looks[name]
                )
        axes.set_ylabel("words that are right", fontsize=9)
        _finish(axes, beside=True)
    return figure


def _draw_classes(values: Mapping[str, Any]) -> "Figure":
    """A panel for each class: prediction, reconstruction, and the n-gram baseline of prediction."""
    classes = values["classes"]
    figure, panels = _panels([*classes], values["steps"], columns=4, size=(2.6, 2.1))
    for axes, of_class in zip(panels, classes.values(), strict=True):
        for kind, colour in zip(("predicted", "reconstructed"), COLOURS, strict=False):
            _draw_runs(axes, values["steps"], of_class[kind]["curves"].values(), color=colour, label=kind)
        _baseline(axes, of_class["predicted"]["n_gram"], "n-grams, predicted")
        axes.set_ylim(0, 1.03)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    return figure


def _draw_probes(values: Mapping[str, Any]) -> "Figure":
    """A panel for each probe, a line for each layer; the untrained model at the left."""
    probes = values["probes"]
    titles = [f"linear probe of {name} ({probe['tags']} tags)" for name, probe in probes.items()]
    figure, panels = _panels(titles, values["steps"])
    for axes, probe in zip(panels, probes.values(), strict=True):
        layers = len(next(iter(probe["curves"].values()))[0])
        for layer in range(layers):
            name, colour = f"layer {layer}" if layer else "embeddings", COLOURS[layer % len(COLOURS)]
            curves = [[at[layer] for at in curve] for curve in probe["curves"].values()]
            _draw_runs(axes, values["steps"], curves, color=colour, label=name)
            untrained = float(np.mean([of_run[layer] for of_run in probe["untrained"].values()]))
            axes.plot([values["steps"][0] * 0.8], [untrained], marker="<", color=colour, clip_on=False)
        axes.plot([], [], marker="<", color="grey", linestyle="", label="untrained")
        _baseline(axes, probe["baseline"], "most frequent tag of each word")
        axes.set_ylabel("test words whose tag is right", fontsize=9)
        _finish(axes, beside=True, from_zero=False)
    return figure


def _panels(
    titles: Sequence[str], steps: Sequence[int], *, columns: int = 1, size: tuple[float, float] = (7.5, 3.8)
) -> tuple["Figure", list["Axes"]]:
    """Coordinate systems with logarithmic steps and shares in %."""
    rows = -(-len(titles) // columns)
    figure = new_figure((size[0] * columns, size[1] * rows), layout=None if columns > 1 else "constrained")
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes in grid[len(titles) :]:
        axes.remove()
    ticks = log_spaced(steps, TICKS if columns == 1 else 4)
    for axes, title in zip(grid, titles, strict=False):
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_xscale("log")
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_minor_formatter("")
        axes.minorticks_off()
        axes.set_xlabel("step of pretraining", fontsize=9)
        percent(axes.yaxis)
        axes.tick_params(labelsize=8)
    return figure, [*grid[: len(titles)]]


def _draw_runs(axes: "Axes", steps: Sequence[int], curves: Sequence[Sequence[float]], **look: Any) -> None:
    values = np.array([*curves])
    if len(values) > 1:
        axes.plot(steps, values.T, linewidth=0.6, alpha=0.4, **{**look, "label": None})
    axes.plot(steps, values.mean(0), marker="o", markersize=2.5, linewidth=1.8, **look)


def _baseline(axes: "Axes", value: float, label: str) -> None:
    axes.axhline(value, color="grey", linestyle=":", linewidth=1.4, label=label)


def _finish(axes: "Axes", *, beside: bool = False, from_zero: bool = True) -> None:
    """The legend and the range, when everything is drawn."""
    if from_zero:
        axes.set_ylim(bottom=0)
    place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if beside else {}
    axes.legend(frameon=False, fontsize=8, **place)
