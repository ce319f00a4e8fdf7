"""A run folder opened for reading: its configuration, its experiment, its data, and the model of every checkpoint."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.domains import Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.method import Tree
from ssl_jax.runs.configuration import Config, read_run
from ssl_jax.runs.encoders import with_own_encoder
from ssl_jax.runs.named_runs import with_own_runs
from ssl_jax.runs.reference import RunReference, choose_step
from ssl_jax.runs.tokenizers import with_own_tokenizer
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.experiment import Data, Experiment
from ssl_jax.training.run_data import open_again
from ssl_jax.training.sharding import MeshConfig, make_mesh


@dataclass(frozen=True)
class DataPlaces(Settings):
    """Where the data of a run is now. It must be the same data; empty for where the run found it."""

    source: Text = ""
    """The data.source of the run, such as a folder that has been moved."""
    heldout_source: Text = ""
    """The same for data.heldout_source."""
    probe_source: Text = ""
    """The same for data.probe_source."""

    def put_into(self, config: Config, folder: epath.Path) -> Config:
        """The configuration of a run with these places. UserError if it has no data of one of them."""
        data = getattr(config, "data", None)
        given = {name: value for name, value in dataclasses.asdict(self).items() if value}
        for name in given:
            if not hasattr(data, name):
                raise UserError(f"--data.{name}: the run {folder} reads no such data; leave it out.")
        return dataclasses.replace(config, data=dataclasses.replace(data, **given)) if given else config


@dataclass(frozen=True)
class OpenedRun:
    """A run, on the devices at hand.

    Attributes:
      folder: of the run.
      step: of the checkpoint that is meant.
      settings: what config.json holds.
      config: the configuration; its tokenizer is the one in the run folder.
      experiment: built from it.
      checkpoints: of the run.
      mesh: the run's own where it fits the devices, else copies of the model on all of them.
    """

    folder: epath.Path
    step: int
    settings: Mapping[str, Any]
    config: Config
    experiment: Experiment
    checkpoints: Checkpoints
    mesh: Mesh

    @cached_property
    def data(self) -> Data:
        """The data of the run. Raises UserError if it is not found any more, or has changed since."""
        return open_again(self.experiment, self.folder)

    @cached_property
    def program(self) -> Program:
        """The experiment as compiled programs."""
        return Program(self.experiment, self.mesh)

    def restore(self, step: int | None = None) -> dict[str, Tree]:
        """The model at a checkpoint, `{"params": ..., **extras}`.

        Args:
          step: of the checkpoint; None for `self.step`.
        """
        step = self.step if step is None else step
        return dict(self.checkpoints.restore_model(step, self.program.state.variables))


def open_run(
    reference: RunReference,
    experiment: str | tuple[str, ...] | None = None,
    places: DataPlaces | None = None,
) -> OpenedRun:
    """Opens a run. Its data is opened when it is asked for, and nothing is compiled.

    Args:
      reference: the run folder and the checkpoint that is meant; `RunReference.parse` reads one that a user wrote.
      experiment: module that the run must be of, or several of which it must be one; None for any.
      places: where its data is now; None for where its configuration says.

    Raises:
      UserError: it is not a run folder, is a run of another experiment, has no such checkpoint, or reads no such data.
    """
    folder = reference.folder
    saved = read_run(folder, experiment)
    config = with_own_tokenizer(saved.config, folder, required=True)
    config = places.put_into(config, folder) if places else config
    config = with_own_runs(config, folder, required=True)
    config = with_own_encoder(config, folder, required=saved.settings.get("init_from") is not None)
    built = saved.module.build(config)
    checkpoints = Checkpoints(folder / "checkpoints")
    step = choose_step(checkpoints, reference)
    mesh = make_mesh(_mesh_at_hand(built))
    return OpenedRun(folder, step, saved.settings, config, built, checkpoints, mesh)


def _mesh_at_hand(experiment: Experiment) -> MeshConfig:
    """The run's own mesh where it fits the devices, else copies of the model on all of them that divide the batch."""
    devices, own = jax.device_count(), experiment.mesh
    fixed = own.fsdp * own.tensor
    if devices % fixed == 0 and own.data in (-1, devices // fixed):
        return own
    if experiment.train.batch_size % devices == 0:
        return MeshConfig()
    raise UserError(f"train.batch_size {experiment.train.batch_size} does not divide over {devices} devices.")
