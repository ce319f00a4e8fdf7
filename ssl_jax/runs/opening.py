"""A run folder opened for reading: its experiment, its data, and the model of every checkpoint."""

from contextlib import closing
from typing import NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.runs.configuration import load_experiment
from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.training import folder as run_folder
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.experiment import Data, Experiment
from ssl_jax.training.sharding import MeshConfig, make_mesh, place


class OpenedRun(NamedTuple):
    """A run, on the devices at hand."""

    experiment: Experiment
    data: Data
    mesh: Mesh
    program: Program
    checkpoints: Checkpoints

    def restore(self, step: int) -> dict[str, Tree]:
        """The model at a checkpoint: {"params": ..., **extras}."""
        return dict(self.checkpoints.restore_model(step, self.program.state.variables))


def open_run(folder: epath.Path) -> OpenedRun:
    """Opens a run folder. Raises UserError if it has no checkpoint, or if its data has changed."""
    experiment, _ = load_experiment(folder)
    checkpoints = Checkpoints(folder / "checkpoints")
    if not checkpoints.steps():
        raise UserError(f"{folder}: has no complete checkpoint.")
    data = experiment.open_data(folder)
    run_folder.check_data(folder, data.identity)
    mesh = make_mesh(_mesh_at_hand(experiment))
    return OpenedRun(experiment, data, mesh, Program(experiment, mesh), checkpoints)


def open_model(folder: epath.Path, step: int | None = None) -> tuple[Experiment, dict[str, Tree]]:
    """The experiment of a run, and its model {"params": ..., **extras} at a checkpoint, without opening its data.

    step: of the checkpoint; None for the newest. UserError if there is none, or not this one.
    """
    experiment, _ = load_experiment(folder)
    with closing(Checkpoints(folder / "checkpoints")) as checkpoints:
        steps = checkpoints.steps()
        if not steps:
            raise UserError(f"{folder}: has no complete checkpoint.")
        if step is not None and step not in steps:
            raise UserError(
                f"{folder}: has no checkpoint of step {step}; there are {', '.join(map(str, steps))}."
            )
        chosen = steps[-1] if step is None else step
        mesh = make_mesh(_mesh_at_hand(experiment))
        shapes = place(mesh, experiment.rules, checkpoints.model_shapes(chosen))
        return experiment, dict(checkpoints.restore_model(chosen, shapes))


def _mesh_at_hand(experiment: Experiment) -> MeshConfig:
    """The run's own mesh where it fits the devices, else copies of the model on all of them that divide the batch."""
    devices, own = jax.device_count(), experiment.mesh
    fixed = own.fsdp * own.tensor
    if devices % fixed == 0 and own.data in (-1, devices // fixed):
        return own
    if experiment.train.batch_size % devices == 0:
        return MeshConfig()
    raise UserError(f"train.batch_size {experiment.train.batch_size} does not divide over {devices} devices.")
