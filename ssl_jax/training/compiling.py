"""An experiment on a mesh, as compiled programs. The mesh may be of devices that are not there: see `plan`."""

import time
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from ssl_jax.interruptible import interruptibly
from ssl_jax.method import Tree
from ssl_jax.training.experiment import Experiment, Phase, Shape
from ssl_jax.training.sharding import (
    Where,
    batch_sharding,
    compiler_options,
    partition,
    partition_of_update,
    place,
    replicated,
    shard,
    update_parts,
)
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
        shapes, where = jax.eval_shape(self._first_state), (self.mesh, self.experiment.rules)
        opt_state = place(*where, shapes.opt_state, partition_of_update)
        return place(*where, shapes)._replace(opt_state=opt_state)

    def _put(self, tree: Tree, where: Where) -> Tree:
        """Parameters or gradients of a traced step, placed as `where` says."""
        if update_parts(self.mesh) == 1:
            return tree
        return jax.lax.with_sharding_constraint(tree, shard(self.mesh, self.experiment.rules, tree, where))

    def initial_state(self) -> TrainState:
        """The state before the first step, made where it lives."""
        return interruptibly(self.lower_initialisation().compile)()

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

    def trace_train_step(self, phase: Phase, shape: Shape | None = None) -> jax.stages.Traced:
        """The step `(state, batch) -> (state, bad_step)` of a phase, ready to be lowered and compiled.

        Args:
          phase: of the experiment.
          shape: one of those of its batches; None for the largest.
        """
        batch = phase.batch if shape is None else phase.batch_of(shape.rows)
        step = make_train_step(
            phase.method or self.experiment.method,
            self.experiment.optimizer,
            seed=self.experiment.train.seed,
            micro_batches=self.experiment.train.micro_batches,
            spread=lambda tree: self._put(tree, partition_of_update),
            gather=lambda tree: self._put(tree, partition),
        )
        shardings = jax.tree.map(lambda x: x.sharding, self.state)
        jitted = jax.jit(
            step,
            out_shardings=(shardings, replicated(self.mesh)),
            donate_argnums=0,
            compiler_options=compiler_options(self.mesh),
        )
        with jax.set_mesh(self.mesh):
            return jitted.trace(self.state, self.place_batch(batch))

    def train_step(
        self,
        phase: Phase,
        shape: Shape | None = None,
        leave: Callable[[], bool] = lambda: False,
        look: Callable[[jax.stages.Traced], None] = lambda traced: None,
    ) -> jax.stages.Compiled:
        """The compiled step of `trace_train_step`. It accepts one shape of batch, and never compiles a second time.

        Args:
          phase, shape: as of `trace_train_step`.
          leave: asked while it is traced and compiled; whether to leave it.
          look: is given the traced step before it is compiled.

        Raises:
          LeftAloneError: `leave` returned True.
        """

        def compiled() -> jax.stages.Compiled:
            traced = self.trace_train_step(phase, shape)
            look(traced)
            return traced.lower().compile()

        return interruptibly(compiled, leave)

    def cleared(self, state: TrainState) -> TrainState:
        """The state with empty metrics; the old ones stay readable."""
        return state._replace(metrics=self._clear(state.metrics))


class CompiledStep(NamedTuple):
    """The step of a batch.

    Attributes:
      run: `(state, batch) -> (state, bad_step)`.
      work: how much of what the speed counts the batch holds.
      operations: that the step needs; see `Utilization.operations`.
    """

    run: jax.stages.Compiled
    work: int
    operations: float


class TrainSteps:
    """The train steps of a phase: one for each shape of its batches, compiled when the first batch of it arrives."""

    def __init__(
        self,
        program: Program,
        phase: Phase,
        log: Callable[[str], None],
        leave: Callable[[], bool] = lambda: False,
        operations: Callable[[jax.stages.Traced], float] = lambda traced: 0.0,
    ) -> None:
        """Compiles the step of a phase whose batches have one shape.

        Args:
          program: of the experiment.
          phase: of the experiment.
          log: prints a line.
          leave: asked during a compilation; whether to leave it. LeftAloneError is raised then.
          operations: that a traced step needs.
        """
        self._program, self._phase, self._log, self._leave = program, phase, log, leave
        self._operations = operations
        self._shapes = {_signature(phase.batch_of(shape.rows)): shape for shape in phase.shapes}
        self._compiled: dict[Any, CompiledStep] = {}
        if not phase.smaller:
            self.compile_all()

    def compile_all(self) -> None:
        """Compiles the steps that are not compiled yet."""
        for signature in self._shapes:
            if signature not in self._compiled:
                self._compile(signature)

    def compiled(self, batch: Mapping[str, jax.Array]) -> bool:
        """Whether a batch has a compiled step."""
        return self._of(batch) in self._compiled

    def compile(self, batch: Mapping[str, jax.Array]) -> float:
        """Compiles the step of a batch. Returns the seconds that it took."""
        return self._compile(self._of(batch))

    def __call__(self, batch: Mapping[str, jax.Array]) -> CompiledStep:
        """The step of a batch."""
        return self._compiled[self._of(batch)]

    def _of(self, batch: Mapping[str, jax.Array]) -> Any:
        """The signature of a batch. ValueError if the phase has no such batch."""
        if not self._phase.smaller:  # the compiled step refuses another batch by itself
            return next(iter(self._shapes))
        signature = _signature(batch)
        if signature not in self._shapes:
            named = "; ".join(map(str, self._shapes))
            raise ValueError(f"a batch of {signature}, which is none of the shapes of the phase: {named}")
        return signature

    def _compile(self, signature: Any) -> float:
        started = time.perf_counter()
        shape = self._shapes[signature]
        several = f" for batches of {shape.work:,} {self._phase.work[0]}" if self._phase.smaller else ""
        self._log(f"compiling the step{several}")
        operations: list[float] = []
        run = self._program.train_step(
            self._phase, shape, self._leave, lambda traced: operations.append(self._operations(traced))
        )
        self._compiled[signature] = CompiledStep(run, shape.work, *operations)
        seconds = time.perf_counter() - started
        self._log(f"compiled the step{several} in {seconds:.1f} s")
        return seconds


def _signature(batch: Mapping[str, Any]) -> tuple[tuple[str, tuple[int, ...], str], ...]:
    """Names, shapes and dtypes of the arrays of a batch."""
    return tuple((name, batch[name].shape, str(batch[name].dtype)) for name in sorted(batch))
