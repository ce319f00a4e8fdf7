"""Data sets as a frozen model sees them, brought to the host."""

from collections.abc import Mapping
from contextlib import closing

import grain
import jax
import numpy as np
from jax.sharding import Mesh

from ssl_jax.data.loading import evaluation_batches
from ssl_jax.method import Tree
from ssl_jax.training.experiment import Experiment, Represented
from ssl_jax.training.sharding import batch_sharding, replicated


class Representer:
    """Runs an experiment's `represent` over data sets; every process calls it, and gets everything."""

    def __init__(self, experiment: Experiment, mesh: Mesh) -> None:
        def features(variables: Mapping[str, Tree], batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
            extras = {name: value for name, value in variables.items() if name != "params"}
            rows = experiment.represent(variables["params"], extras, batch).astype("float32")
            return {"features": rows, "labels": batch["label"], "real": batch["example_weight"] > 0}

        self._features = jax.jit(features, out_shardings=replicated(mesh))
        self._mesh, self._batch_size = mesh, experiment.train.batch_size

    def __call__(self, variables: Mapping[str, Tree], dataset: grain.MapDataset) -> Represented:
        """Features and labels of every example, in order."""
        features, labels = [], []
        with closing(evaluation_batches(dataset, self._batch_size, batch_sharding(self._mesh))) as batches:
            for batch in batches:
                with jax.set_mesh(self._mesh):
                    rows = jax.device_get(self._features(variables, batch))
                features.append(rows["features"][rows["real"]])
                labels.append(rows["labels"][rows["real"]])
        return Represented(np.concatenate(features), np.concatenate(labels))
