"""Data sets as a frozen model sees them, brought to the host."""

from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from ssl_jax.method import Represent, Tree, split_variables
from ssl_jax.training.experiment import Represented
from ssl_jax.training.loading import evaluation_batches
from ssl_jax.training.sharding import batch_sharding, replicated


def representations(
    represent: Represent,
    variables: Mapping[str, Tree],
    dataset: grain.MapDataset,
    *,
    mesh: Mesh,
    batch_size: int,
) -> Represented:
    """Features and labels of every example, in order. Every process calls it, and gets everything."""

    rows = _compiled(represent, mesh)
    features, labels = [], []
    with closing(evaluation_batches(dataset, batch_size, batch_sharding(mesh))) as batches:
        for batch in batches:
            with jax.set_mesh(mesh):
                found = jax.device_get(rows(variables, batch))
            features.append(found["features"][found["real"]])
            labels.append(found["labels"][found["real"]])
    return Represented(np.concatenate(features), np.concatenate(labels))


@lru_cache(maxsize=4)
def _compiled(represent: Represent, mesh: Mesh) -> jax.stages.Wrapped:
    """Kept, as the same function is asked for other data and, along a curve, for many checkpoints."""

    def rows(variables: Mapping[str, Tree], batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
        features = represent(*split_variables(variables), batch).astype("float32")
        return {"features": features, "labels": batch["label"], "real": batch["example_weight"] > 0}

    return jax.jit(rows, out_shardings=replicated(mesh))
