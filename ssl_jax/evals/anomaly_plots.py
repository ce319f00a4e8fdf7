"""Plots of anomaly scores: histograms with their thresholds, and ROC curves."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssl_jax.evals.plots import COLOURS, new_axes, new_figure, percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 40
COLUMNS = 5
GRID = np.linspace(0, 1, 201)
"""Shares of false alarms at which ROC curves are averaged."""


def draw_roc(scores: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], *, title: str) -> "Figure":
    """ROC curves, one for each method: the share of anomalies that is detected against that of false alarms.

    Args:
      scores: by method, for each detector its scores of (normal examples, anomalies). The curve is the mean over
        detectors.
      title: at the top.
    """
    from sklearn.metrics import roc_curve  # takes a second that the start of a run need not wait for

    figure, axes = new_axes(title=title, width=5.6, height=5.0)
    for (name, detectors), colour in zip(scores.items(), COLOURS, strict=False):
        detected = []
        for normal, anomalous in detectors:
            truth = np.repeat([0, 1], [len(normal), len(anomalous)])
            alarms, found, _ = roc_curve(truth, np.concatenate([normal, anomalous]))
            detected.append(np.interp(GRID, alarms, found))
        axes.plot(GRID, np.mean(detected, 0), color=colour, linewidth=1.5, label=name)
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--", label="chance")
    axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="false alarms", ylabel="anomalies detected")
    for axis in (axes.xaxis, axes.yaxis):
        percent(axis)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def draw_scores(scores: Mapping[str, tuple[np.ndarray, np.ndarray, float]], *, title: str) -> "Figure":
    """Histograms of the scores of normal examples and of anomalies, one for each detector.

    The axis of the scores is logarithmic where they are all above 0.

    Args:
      scores: by detector, (of normal examples, of anomalies, threshold).
      title: at the top.
    """
    across = min(COLUMNS, len(scores))
    down = math.ceil(len(scores) / across)
    figure = new_figure((max(5.0, 2.5 * across), 0.5 + 2.1 * down))
    figure.suptitle(title, x=0.1, ha="left", fontsize=11)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(scores) :]:
        axes.axis("off")
    for axes, (name, (normal, anomalous, threshold)) in zip(grid.flat, scores.items(), strict=False):
        least, most = (of([*map(of, (normal, anomalous)), threshold]) for of in (min, max))
        by_logarithm = least > 0
        ends = (least, 1.001 * most) if by_logarithm else (least, most + 0.001 * (most - least) + 1e-12)
        edges = (np.geomspace if by_logarithm else np.linspace)(*ends, BINS + 1)
        for values, colour, label in ((normal, COLOURS[0], "normal"), (anomalous, COLOURS[1], "anomalous")):
            shares = np.full(len(values), 1 / len(values))
            axes.hist(values, edges, weights=shares, color=colour, alpha=0.6, label=label)
        axes.axvline(threshold, color="#333333", linewidth=1, linestyle="--", label="threshold")
        if by_logarithm:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter("")
        axes.set_title(name, fontsize=9)
        axes.set_yticks([])
        axes.tick_params(labelsize=7, which="both")
        axes.spines[["top", "right", "left"]].set_visible(False)
    grid.flat[0].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    return figure
