"""The results of cross-lingual alignment as the table and the figures read them.

They are by run, named MODEL-SEED, what `ssl_jax.recipes.alignment.alignment_of` gives.
"""

from collections.abc import Iterable, Mapping
from typing import Any


def runs_by_model(runs: Iterable[str]) -> dict[str, list[str]]:
    """The runs of each model, which differ in their seeds.

    Example:
      >>> runs_by_model(["base-0", "base-1", "run"])
      {'base': ['base-0', 'base-1'], 'run': ['run']}
    """
    models: dict[str, list[str]] = {}
    for run in runs:
        models.setdefault(run.rpartition("-")[0] or run, []).append(run)
    return models


def at_last(of: Mapping[str, Any]) -> Mapping[str, Any]:
    """The scores of the last checkpoint."""
    return of["steps"][max(of["steps"], key=int)]
