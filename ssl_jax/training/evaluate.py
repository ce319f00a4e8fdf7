"""Metrics on held-out data: every example once, with the same randomness each time."""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing

import grain
import jax
from jax.sharding import Mesh

from ssl_jax.method import Batch, Extras, Mean, Tree, evaluate
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.loading import evaluation_batches
from ssl_jax.training.metrics import means
from ssl_jax.training.sharding import batch_sharding, replicated


class Evaluator:
    """Evaluates an experiment's method on data sets. One compiled step per shape of a batch."""

    def __init__(self, experiment: Experiment, mesh: Mesh) -> None:
        seed = experiment.train.seed

        def metrics(params: Tree, extras: Extras, batch: Batch, number: jax.Array) -> dict[str, Mean]:
            # Stream 2 of the seed; see step_rng. The same masks at every evaluation make metrics comparable.
            rng = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2), number)
            return evaluate(experiment.method, params, extras, batch, rng)

        self._metrics = jax.jit(metrics, out_shardings=replicated(mesh))
        self._mesh, self._batch_size = mesh, experiment.train.batch_size
        self._derive = experiment.derive

    def lower(
        self, params: Tree, extras: Extras, batch: Mapping[str, jax.ShapeDtypeStruct]
    ) -> jax.stages.Lowered:
        """The program of one batch, ready to be compiled, for abstract arrays with their shardings."""
        with jax.set_mesh(self._mesh):
            return self._metrics.lower(params, extras, batch, 0)

    def __call__(
        self,
        params: Tree,
        extras: Extras,
        dataset: grain.MapDataset,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Mean of every metric over the data set, and the derived metrics; None if `interrupted` returned True."""
        totals: Counter[str] = Counter()
        weights: Counter[str] = Counter()

        def add(metrics: Mapping[str, Mean]) -> None:
            # On the host, in double precision: a float32 sum stops counting at 2^24 tokens.
            for name, (total, weight) in jax.device_get(metrics).items():
                totals[name] += float(total)
                weights[name] += float(weight)

        in_flight = None
        with closing(evaluation_batches(dataset, self._batch_size, batch_sharding(self._mesh))) as batches:
            for number, batch in enumerate(batches):
                if interrupted():
                    return None
                with jax.set_mesh(self._mesh):
                    metrics = self._metrics(params, extras, batch, number)
                if in_flight is not None:
                    add(in_flight)
                in_flight = metrics
        add(in_flight)
        metrics = means({name: (totals[name], weights[name]) for name in totals})
        return {**metrics, **self._derive(metrics)}
