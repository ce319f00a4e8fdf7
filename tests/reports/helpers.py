"""Reports to call report functions with, without a run."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from ssl_jax.method import Tree
from ssl_jax.training.experiment import Data, Experiment, Report
from ssl_jax.training.sharding import MeshConfig, make_mesh


def make_report(folder: Path, **fields: Any) -> Report:
    """A report in a folder, on eight devices, with these fields."""
    defaults = {
        "writes": True,
        "log": print,
        "step": 0,
        "variables": {"params": {}},
        "data": Data((), (), {}),
        "heldout": {},
        "metrics": {},
        "mesh": make_mesh(MeshConfig(data=8)),
        "batch_size": 8,
        "initial_variables": dict,
    }
    return Report(folder=epath.Path(folder), **(defaults | fields))


def initial_variables(experiment: Experiment) -> dict[str, Tree]:
    """Of a model before training."""
    batch = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), experiment.phases[-1].batch)
    return jax.jit(experiment.method.init)(jax.random.key(0), batch)
