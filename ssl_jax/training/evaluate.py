"""Figures on held-out data: every example once, the same randomness each time."""

from collections.abc import Callable, Mapping

import grain
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ssl_jax.data.loading import evaluation_batches
from ssl_jax.method import Batch, Mean, Tree
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.metrics import means
from ssl_jax.training.sharding import batch_sharding, replicated

Sums = dict[str, Mean]


class Evaluator:
    """Runs an experiment's `evaluate` over data sets. One compiled step per shape of a batch."""

    def __init__(self, experiment: Experiment, mesh: Mesh) -> None:
        seed = experiment.train.seed

        def add(
            sums: Sums | None, params: Tree, extras: Mapping[str, Tree], batch: Batch, number: int
        ) -> Sums:
            # Stream 2 of the seed; see step_rng. The same masks at every evaluation make figures comparable.
            rng = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2), number)
            figures = dict(experiment.evaluate(params, extras, batch, rng))
            return figures if sums is None else jax.tree.map(jnp.add, sums, figures)

        self._add = jax.jit(add, out_shardings=replicated(mesh))
        self._mesh, self._batch_size = mesh, experiment.train.batch_size

    def __call__(
        self,
        params: Tree,
        extras: Mapping[str, Tree],
        dataset: grain.MapDataset,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Mean of every figure over the data set; None if `interrupted` said to stop."""
        sums = None
        batches = evaluation_batches(dataset, self._batch_size, batch_sharding(self._mesh))
        for number, batch in enumerate(batches):
            if interrupted():
                return None
            sums = self._add(sums, params, extras, batch, number)
        return means(jax.device_get(sums))
