"""Figures of cross-lingual alignment: the mean reciprocal rank of translations over layers and over steps."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ssl_jax.evals.alignment import at_last, runs_by_model
from ssl_jax.evals.plots import COLOURS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLES = {"raw": "--", "centred": "-"}


def draw_alignment(found: Mapping[str, Mapping[str, Any]]) -> dict[str, "Figure"]:
    """`layers`: the last checkpoint by layer; `steps`: the chosen layer by step. A panel for each test.

    Args:
      found: by run, named MODEL-SEED, what `ssl_jax.recipes.alignment.alignment_of` gives.
    """
    models = runs_by_model(found)
    return {
        "layers": _draw(found, models, "layer", _by_layer),
        "steps": _draw(found, models, "step", _by_step),
    }


def _by_layer(of: Mapping[str, Any], way: str) -> tuple[list[int], list[float]]:
    scores = at_last(of)[way][1:]  # without the table of tokens
    return list(range(len(scores))), [each["mrr"] for each in scores]


def _by_step(of: Mapping[str, Any], way: str) -> tuple[list[int], list[float]]:
    layer = of["layers"][way]
    steps = sorted(map(int, of["steps"]))
    scores = [of["untrained"], *(of["steps"][str(step)] for step in steps)]
    return [0, *steps], [each[way][layer]["mrr"] for each in scores]


def _draw(found, models, across, curve) -> "Figure":  # noqa: ANN001
    tests = list(next(iter(found.values())))
    figure = new_figure((5.2 * len(tests), 4.2))
    for axes, test in zip(figure.subplots(1, len(tests), squeeze=False).flat, tests, strict=True):
        axes.set_title(test, loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        for (model, runs), colour in zip(models.items(), COLOURS, strict=False):
            for way, style in _STYLES.items():
                curves = [curve(found[run][test], way) for run in runs]
                values = np.array([each[1] for each in curves])
                if len(values) > 1:
                    axes.fill_between(curves[0][0], values.min(0), values.max(0), color=colour, alpha=0.12)
                label = f"{model}, {way}" if len(models) > 1 else way
                axes.plot(curves[0][0], np.median(values, 0), style, color=colour, label=label, marker=".")
        axes.axhline(
            found[next(iter(found))][test]["chance"], color="grey", linewidth=0.8, label="random order"
        )
        axes.set_xlabel("layer (0: input of the first one)" if across == "layer" else across)
        axes.set_ylabel("mean reciprocal rank")
        axes.set_ylim(bottom=0)
    # One legend for all panels, beside them: with several models it would cover their curves.
    axes.legend(frameon=False, fontsize=7, handlelength=3.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.tight_layout()
    return figure
