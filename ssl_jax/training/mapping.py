"""A function of batches, computed on every example of a data set and brought to the host."""

import functools
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import lru_cache

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from ssl_jax.interruptible import interruptibly
from ssl_jax.method import Batch, Extras, Tree, split_variables
from ssl_jax.training.loading import evaluation_batches
from ssl_jax.training.sharding import batch_sharding, compiler_options, replicated

MapFunction = Callable[[Tree, Extras, Batch], Tree]
"""`(params, extras, batch) -> tree` of arrays `[batch, ...]`, of any shapes and dtypes."""


def map_examples(
    function: MapFunction,
    variables: Mapping[str, Tree],
    dataset: grain.MapDataset,
    *,
    mesh: Mesh,
    batch_size: int,
) -> Tree:
    """The results of a function for every example of a data set, in order.

    Every process calls it, and gets all results. The compiled function is kept: pass the same function object again
    for another data set or other variables.

    Args:
      function: `(params, extras, batch) -> tree` of arrays `[batch, ...]`.
      variables: `{"params": ..., **extras}`.
      dataset: a finite one; the rows that fill up its last batch are left out of the result.
      mesh: of the devices.
      batch_size: examples that are computed at once, over all devices.

    Returns:
      The tree of the function, of NumPy arrays `[examples, ...]` with the dtypes that the function gives them.
    """
    compiled = _compiled(function, mesh)
    parts = []

    def compute(batch: Batch) -> tuple[Tree, jax.Array]:
        with jax.set_mesh(mesh):
            return compiled(variables, batch)

    with closing(evaluation_batches(dataset, batch_size, batch_sharding(mesh))) as batches:
        for batch in batches:
            # The first one may be compiled.
            computed = compute(batch) if parts else interruptibly(functools.partial(compute, batch))
            result, real = jax.device_get(computed)
            parts.append(jax.tree.map(lambda rows, real=real: rows[real], result))
    return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)


def batch_of_all_devices(examples: int, mesh: Mesh) -> int:
    """A size of batches that all devices share equally: so many examples, or the next multiple of their number."""
    return -(-examples // mesh.size) * mesh.size


def lower_map(
    function: MapFunction,
    variables: Mapping[str, Tree],
    batch: Mapping[str, jax.ShapeDtypeStruct],
    mesh: Mesh,
) -> jax.stages.Lowered:
    """The program with which `map_examples` computes one batch, for abstract arrays with their shardings."""
    with jax.set_mesh(mesh):
        return _compiled(function, mesh).lower(variables, batch)


@lru_cache(maxsize=16)  # a trained model has some functions, and may be used with all of them in turn
def _compiled(function: MapFunction, mesh: Mesh) -> jax.stages.Wrapped:
    def results(variables: Mapping[str, Tree], batch: Batch) -> tuple[Tree, jax.Array]:
        return function(*split_variables(variables), batch), batch["example_weight"] > 0

    return jax.jit(results, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh))


def with_labels(function: MapFunction) -> MapFunction:
    """The function that returns `(result, labels)`: features of the given one in float32, and int32 `[batch]`."""

    def labelled(params: Tree, extras: Extras, batch: Batch) -> tuple[Tree, jax.Array]:
        features = function(params, extras, batch)
        return jax.tree.map(lambda x: x.astype(jnp.float32), features), batch["label"]

    return labelled
