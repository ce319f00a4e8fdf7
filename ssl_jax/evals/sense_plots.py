"""Plots of words in several senses: cosines of their occurrences, areas under the curve by layer, and maps."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_jax.evals.plots import COLOURS, new_figure
from ssl_jax.evals.sense_pairs import cosine_matrix, principal_components, same_sense_auc

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_LAYERS = 4
"""Layers in a row of a figure, at most."""
KINDS = ("raw", "centred")


def shown_layers(layers: int) -> list[int]:
    """The first, the last and some of the layers between, equally far apart.

    Example:
      >>> shown_layers(3), shown_layers(13)
      ([0, 1, 2], [0, 4, 8, 12])
    """
    spread = np.linspace(0, layers - 1, min(SHOWN_LAYERS, layers))
    return sorted({round(place) for place in spread})


def draw_cosines(
    word: str,
    layers: Sequence[tuple[np.ndarray, np.ndarray]],
    senses: np.ndarray,
    sentences: Sequence[str],
    names: Sequence[str],
) -> "Figure":
    """The cosines of all pairs of occurrences of a word, a panel for each layer: raw ones above, centred ones below.

    Args:
      word: the word.
      layers: of each, vectors `[occurrences, width]` and what is subtracted to centre them.
      senses: int `[occurrences]`, sorted.
      sentences: labels of the occurrences.
      names: of the senses, by number.
    """
    shown = shown_layers(len(layers))
    side = max(2.1, 0.17 * len(senses))
    figure = new_figure((4.2 + side * len(shown), 1.2 + 2 * (side + 0.35)), layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False)
    figure.suptitle(f'"{word}": cosine similarity of its {len(senses)} occurrences', fontsize=11)
    borders = np.flatnonzero(np.diff(senses)) + 0.5
    image = None
    for row, kind in enumerate(KINDS):
        for column, layer in enumerate(shown):
            vectors, centre = layers[layer]
            cosines = cosine_matrix(vectors, centre if kind == "centred" else None)
            axes = grid[row, column]
            image = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r")
            for border in borders:
                axes.axhline(border, color="black", linewidth=0.8)
                axes.axvline(border, color="black", linewidth=0.8)
            axes.set_title(f"{kind}, layer {layer}: AUC {same_sense_auc(cosines, senses):.2f}", fontsize=8)
            axes.set_xticks(range(len(senses)), range(1, len(senses) + 1), fontsize=6)
            labels = [f"{text}  {number}" for number, text in enumerate(sentences, 1)] if column == 0 else []
            axes.set_yticks(range(len(labels)), labels, fontsize=6.5)
            axes.tick_params(length=0)
            for tick, sense in zip(axes.get_yticklabels(), senses, strict=False):
                tick.set_color(COLOURS[sense % len(COLOURS)])
    bar = figure.colorbar(image, ax=grid, shrink=0.6, label="cosine similarity")
    bar.ax.tick_params(labelsize=7)
    handles = [
        figure.axes[0].plot([], [], "s", color=COLOURS[i % len(COLOURS)])[0] for i in range(len(names))
    ]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
    return figure


def draw_map(
    word: str, layers: Sequence[tuple[np.ndarray, np.ndarray]], senses: np.ndarray, names: Sequence[str]
) -> "Figure":
    """The occurrences of a word in two dimensions, by the first principal components of its centred embeddings.

    Args:
      word, layers, senses, names: as in `draw_cosines`, whose numbers the occurrences have here too.
    """
    shown = shown_layers(len(layers))
    figure = new_figure((0.6 + 2.9 * len(shown), 3.3), layout="constrained")
    figure.suptitle(f'"{word}": principal components of its occurrences', fontsize=11)
    for layer, axes in zip(shown, figure.subplots(1, len(shown), squeeze=False)[0], strict=True):
        vectors, centre = layers[layer]
        places, shares = principal_components(vectors - centre)
        for sense, name in enumerate(names):
            axes.scatter(*places[senses == sense].T, s=16, color=COLOURS[sense % len(COLOURS)], label=name)
        together: dict[tuple[float, ...], list[str]] = {}
        for number, place in enumerate(places, 1):
            together.setdefault(tuple(place.round(3)), []).append(f"{number}")
        for place, numbers in together.items():
            label = ", ".join(numbers)
            axes.annotate(label, place, xytext=(3, 2), textcoords="offset points", fontsize=6.5)
        axes.set_title(f"layer {layer}", fontsize=9)
        axes.set_xlabel(f"component 1 ({shares[0]:.0%} of the variance)", fontsize=7)
        axes.set_ylabel(f"component 2 ({shares[1]:.0%})", fontsize=7)
        axes.tick_params(labelsize=6)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *figure.axes[0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=len(names),
        frameon=False,
        fontsize=8,
    )
    return figure


def draw_layers(values: Mapping[str, Any], layers: Sequence[str], baselines: Sequence[str]) -> "Figure":
    """The areas under the curve by layer, of raw cosines on the left and of centred ones on the right.

    Args:
      values: by kind, those of `ssl_jax.reports.word_senses.sense_values`: under `embeddings` and `untrained`, by name,
        the areas `auc` of the words and `mean_auc`.
      layers: names of the layers, in order.
      baselines: names of the others.
    """
    figure = new_figure((9.5, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    steps = range(len(layers))
    for axes, kind in zip(panels, KINDS, strict=True):
        of, untrained = values[kind]["embeddings"], values[kind]["untrained"]
        for number, word in enumerate(of[layers[0]]["auc"]):
            style = {"linewidth": 1.0, "alpha": 0.8, "marker": "o", "markersize": 3}
            colour = COLOURS[number % len(COLOURS)]
            axes.plot(steps, [of[layer]["auc"][word] for layer in layers], color=colour, label=word, **style)
        means = [of[layer]["mean_auc"] for layer in layers]
        axes.plot(steps, means, color="black", linewidth=2.4, marker="o", label="mean of the words")
        seeds = np.array([untrained[layer]["mean_auc"] for layer in layers])
        name = "untrained, mean of the words"
        axes.plot(steps, np.median(seeds, axis=1), color="grey", linewidth=2, linestyle="--", label=name)
        axes.fill_between(steps, seeds.min(1), seeds.max(1), color="grey", alpha=0.2, linewidth=0)
        for dashes, name in zip((":", "-.", (0, (5, 1))), baselines, strict=False):
            axes.axhline(of[name]["mean_auc"], color="black", linewidth=1.1, linestyle=dashes, label=name)
        axes.set_title(f"{kind} cosines", loc="left", fontsize=10)
        axes.set_xticks(steps)
        axes.set_xlabel("layer (0: input of the first one)", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    panels[0].set_ylabel("AUC of pairs of the same sense", fontsize=9)
    panels[0].set_ylim(top=1.02)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8)
    return figure
