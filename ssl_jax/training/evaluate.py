"""Metrics on held-out data: every example once, with the same randomness each time."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing

import jax
import numpy as np
from jax.sharding import Mesh

from ssl_jax.interruptible import LeftAloneError, interruptibly
from ssl_jax.method import Batch, Extras, Mean, Tree, evaluate
from ssl_jax.training.experiment import Data, Experiment
from ssl_jax.training.loading import evaluation_batches
from ssl_jax.training.metrics import means
from ssl_jax.training.sharding import batch_sharding, compiler_options, replicated


class Evaluator:
    """Evaluates an experiment's method on data sets. One compiled step per shape of a batch."""

    def __init__(self, experiment: Experiment, mesh: Mesh) -> None:
        seed, score = experiment.train.seed, experiment.score

        def measure(
            params: Tree, extras: Extras, batch: Batch, number: jax.Array
        ) -> tuple[dict[str, Mean], Tree]:
            # Stream 2 of the seed; see step_rng. The same masks at every evaluation make metrics comparable.
            rng = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 2), number)
            predictions = (
                (score.predict(params, extras, batch), batch["example_weight"] > 0) if score else None
            )
            return evaluate(experiment.method, params, extras, batch, rng), predictions

        self._measure = jax.jit(
            measure, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh)
        )
        self._mesh, self._batch_size = mesh, experiment.train.batch_size
        self._derive, self._score = experiment.derive, score

    def lower(
        self, params: Tree, extras: Extras, batch: Mapping[str, jax.ShapeDtypeStruct]
    ) -> jax.stages.Lowered:
        """The program of one batch, ready to be compiled, for abstract arrays with their shardings."""
        with jax.set_mesh(self._mesh):
            return self._measure.lower(params, extras, batch, 0)

    def _step(self, params: Tree, extras: Extras, batch: Batch, number: int) -> tuple[dict[str, Mean], Tree]:
        with jax.set_mesh(self._mesh):
            return self._measure(params, extras, batch, number)

    def metric_names(
        self,
        params: Tree,
        extras: Extras,
        batch: Mapping[str, jax.ShapeDtypeStruct],
        data: Data,
        split: str,
        *,
        phase: int = 0,
    ) -> set[str]:
        """Names of the metrics of a held-out set. Nothing is compiled or evaluated.

        Args:
          params, extras: of the model; shapes do.
          batch: shapes of the arrays of a batch of held-out data.
          data, split, phase: as of an evaluation.
        """
        with jax.set_mesh(self._mesh):
            metrics, predictions = jax.eval_shape(self._measure, params, extras, batch, 0)
        names = {*metrics, *self._derive(dict.fromkeys(metrics, 1.0))}
        if self._score is not None:
            examples = len(data.heldout[phase][split])
            zeros = jax.tree.map(lambda x: np.zeros((examples, *x.shape[1:]), x.dtype), predictions[0])
            names |= self._score.metrics(data, split, zeros).keys()
        return names

    def __call__(
        self,
        params: Tree,
        extras: Extras,
        data: Data,
        split: str,
        *,
        phase: int = 0,
        interrupted: Callable[[], bool] = lambda: False,
        leave: Callable[[], bool] = lambda: False,
    ) -> dict[str, float] | None:
        """Evaluates on one held-out set.

        Args:
          params, extras: of the model.
          data: of the run.
          split: name of the held-out set.
          phase: of the run, which may have a held-out set of its own.
          interrupted: asked before every batch.
          leave: asked while the program is compiled.

        Returns:
          The mean of every metric over the data set, the metrics derived from these, and those of the whole set; None
          if `interrupted` or `leave` returned True.
        """
        totals: Counter[str] = Counter()
        weights: Counter[str] = Counter()
        predicted: list[Tree] = []

        def add(measured: tuple[Mapping[str, Mean], Tree]) -> None:
            # On the host, in double precision: a float32 sum stops counting at 2^24 tokens.
            metrics, predictions = jax.device_get(measured)
            for name, (total, weight) in metrics.items():
                totals[name] += float(total)
                weights[name] += float(weight)
            if predictions is not None:
                tree, real = predictions
                predicted.append(jax.tree.map(lambda rows: rows[real], tree))

        in_flight = None
        dataset = data.heldout[phase][split]
        with closing(evaluation_batches(dataset, self._batch_size, batch_sharding(self._mesh))) as batches:
            for number, batch in enumerate(batches):
                if interrupted():
                    return None
                step = functools.partial(self._step, params, extras, batch, number)
                try:
                    # The first one may be compiled.
                    measured = step() if number else interruptibly(step, leave)
                except LeftAloneError:
                    return None
                if in_flight is not None:
                    add(in_flight)
                in_flight = measured
        add(in_flight)
        metrics = means({name: (totals[name], weights[name]) for name in totals})
        metrics |= self._derive(metrics)
        if self._score is None:
            return metrics
        whole = self._score.metrics(data, split, jax.tree.map(lambda *rows: np.concatenate(rows), *predicted))
        if taken := sorted(metrics.keys() & whole.keys()):
            raise ValueError(f"{', '.join(taken)}: metrics of `score` that are among the means already")
        return metrics | {name: float(value) for name, value in whole.items() if math.isfinite(value)}
