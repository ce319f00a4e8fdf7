"""The table of cross-lingual alignment: how well translations find each other, in each model."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from ssl_jax.evals.alignment import at_last, runs_by_model
from ssl_jax.reports.tables import aligned

_WAYS = ("raw", "centred")
_METRICS = {"mrr": ("MRR", ".3f"), "p1": ("P@1", ".1%"), "p10": ("P@10", ".1%")}


def alignment_table(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A table for each test, with the medians over the seeds and their range.

    Args:
      found: by run, named MODEL-SEED, what `ssl_jax.recipes.alignment.alignment_of` gives.
    """
    models = runs_by_model(found)
    lines: list[str] = []
    for test, of in next(iter(found.values())).items():
        lines.append(
            f"{test}: {of['pairs']:,} pairs, half of them to choose the layer; a random order has the MRR "
            f"{of['chance']:.3f}"
        )
        rows = [["", "layer", *(title for title, _ in _METRICS.values())]]
        for model, runs in models.items():
            for way in _WAYS:
                layers = sorted({layer_name(found[run][test]["layers"][way]) for run in runs})
                scores = [at_last(found[run][test])[way][found[run][test]["layers"][way]] for run in runs]
                rows.append([f"{model}, {way}", "/".join(layers), *_cells(scores)])
        first = found[next(iter(found))][test]
        last = at_last(first)
        rows += [[f"table of tokens, {way}", layer_name(0), *_cells([last[way][0]])] for way in _WAYS]
        for way in _WAYS:
            best = max(
                range(len(first["untrained"][way])), key=lambda i, way=way: first["untrained"][way][i]["mrr"]
            )
            rows.append(
                [f"before training, {way}", layer_name(best), *_cells([first["untrained"][way][best]])]
            )
        rows.append(["tokens in common", "", *_cells([first["overlap"]])])
        if "mapped" in first:
            rows.append(["CBOW, orthogonal map", "", *_cells([first["mapped"]])])
        lines += [*aligned(rows), ""]
    return lines


def layer_name(index: int) -> str:
    """The name of a layer by its place in the scores.

    Example:
      >>> layer_name(0), layer_name(1), layer_name(3)
      ('tokens', 'input', '2')
    """
    return ("tokens", "input")[index] if index < 2 else str(index - 1)


def _cells(scores: list[Mapping[str, float]]) -> list[str]:
    """The median of the seeds of each metric, and the range if there are several."""
    cells = []
    for name, (_, form) in _METRICS.items():
        values = [each[name] for each in scores]
        spread = f" ({min(values):{form}} to {max(values):{form}})" if len(values) > 1 else ""
        cells.append(f"{median(values):{form}}{spread}")
    return cells
