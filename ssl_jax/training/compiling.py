"""An experiment on a mesh, as compiled programs. The mesh may be of devices that are not there: see `plan`."""

from collections.abc import Mapping
from functools import cached_property

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ssl_jax.training.experiment import Experiment, Phase
from ssl_jax.training.sharding import batch_sharding, place, replicated
from ssl_jax.training.state import TrainState
from ssl_jax.training.step import make_initial_state, make_train_step


class Program:
    """What runs on the devices: the initialisation and, per phase, the train step.

    Everything is laid out by `experiment.rules`; the state is donated to the step, so that it exists once.
    """

    def __init__(self, experiment: Experiment, mesh: Mesh) -> None:
        self.experiment, self.mesh = experiment, mesh
        self._first_state = make_initial_state(
            experiment.method,
            experiment.optimizer,
            batch=experiment.phases[0].batch,
            seed=experiment.train.seed,
        )
        self._clear = jax.jit(
            lambda metrics: jax.tree.map(jnp.zeros_like, metrics), out_shardings=replicated(mesh)
        )

    @cached_property
    def state(self) -> TrainState:
        """Shape, dtype and sharding of every array of the state."""
        return place(self.mesh, self.experiment.rules, jax.eval_shape(self._first_state))

    def initial_state(self) -> TrainState:
        """The state before the first step, made where it lives."""
        return self._initialisation()()

    def lower_initialisation(self) -> jax.stages.Lowered:
        """The program of `initial_state`, ready to be compiled."""
        return self._initialisation().lower()

    def _initialisation(self) -> jax.stages.Wrapped:
        shardings = jax.tree.map(lambda x: x.sharding, self.state)
        return jax.jit(self._first_state, out_shardings=shardings)

    def place_batch(self, batch: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
        """The abstract arrays of a batch, each with its sharding."""
        along_batch = batch_sharding(self.mesh)
        return {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=along_batch) for name, x in batch.items()
        }

    def trace_train_step(self, phase: Phase) -> jax.stages.Traced:
        """The step `(state, batch) -> (state, bad_step)` of a phase, ready to be lowered and compiled."""
        step = make_train_step(
            self.experiment.method,
            self.experiment.optimizer,
            seed=self.experiment.train.seed,
            micro_batches=self.experiment.train.micro_batches,
        )
        shardings = jax.tree.map(lambda x: x.sharding, self.state)
        jitted = jax.jit(step, out_shardings=(shardings, replicated(self.mesh)), donate_argnums=0)
        with jax.set_mesh(self.mesh):
            return jitted.trace(self.state, self.place_batch(phase.batch))

    def train_step(self, phase: Phase) -> jax.stages.Compiled:
        """The compiled step of a phase. It accepts one shape of batch: a step can't compile a second time unnoticed."""
        return self.trace_train_step(phase).lower().compile()

    def cleared(self, state: TrainState) -> TrainState:
        """The state with empty metrics; the old ones stay readable."""
        return state._replace(metrics=self._clear(state.metrics))
