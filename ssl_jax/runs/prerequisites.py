"""Runs that another one begins with: named by the user, or trained first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.method import Tree
from ssl_jax.runs.configuration import Config, read_run, run_settings
from ssl_jax.runs.encoders import MODULES
from ssl_jax.runs.listing import import_experiment
from ssl_jax.runs.named_runs import copy_run
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.warm_start import build_run, check_preprocessing, of_modules, placed_like, transfer
from ssl_jax.training import loop, metrics
from ssl_jax.training.best import Criterion
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.distributed import on_main
from ssl_jax.training.experiment import Experiment, Start
from ssl_jax.training.folder import begun, read_data


class PlannedRun(NamedTuple):
    """A run to be trained.

    Attributes:
      module: name of its experiment's module, such as "experiments.vqvae".
      preset: that its configuration began with.
      config: its whole configuration.
      init_from: RUN, RUN@STEP or a folder of weights that it starts from; in a study, RUN may be the name of one of the
        runs that the study trains before.
    """

    module: str
    preset: str
    config: Config
    init_from: str | None = None


def train_run(planned: PlannedRun, folder: epath.Path, *, report: bool = True) -> bool:
    """Trains a run to its last step, from wherever its folder stands.

    Args:
      planned: what to train.
      folder: the run folder.
      report: whether it writes samples and a report as it does on its own. Without, a run that is finished is left
        alone at once.

    Returns:
      False if the run was left alone because it is finished.

    Raises:
      UserError: the folder holds a run with another configuration, or the run cannot start or go on.
      SystemExit: a signal ended the run early; it is saved, and the same call continues it.
    """
    settings = run_settings(*planned)
    build = import_experiment(planned.module).build
    experiment = build_run(build, planned.config, folder, planned.init_from)
    if not report:
        if _is_finished(folder, settings, experiment):
            return False
        experiment = experiment._replace(sample=None, report=None)
    stopped = loop.train(experiment, folder, settings)
    if stopped:
        raise SystemExit(stopped)
    return True


def _is_finished(folder: epath.Path, settings: dict, experiment: Experiment) -> bool:
    """Whether the folder holds the run of these settings with a checkpoint of its last step, or of its early end."""
    if not (folder / "checkpoints").exists() or not begun(folder, settings):
        return False
    newest = max(Checkpoints(folder / "checkpoints").steps(), default=0)
    lines = [line for line in metrics.read(folder) if line["step"] <= newest]
    return newest == experiment.steps or Criterion.of(experiment.train).ends(lines)


@dataclass(frozen=True)
class Prerequisite:
    """A run that another one begins with: the one that is named, or one that is trained first.

    Attributes:
      name: of the folder, within that of the run that begins with it, where it is trained or copied to.
      planned: what is trained there.
      run: RUN or RUN@STEP to take instead; empty for none.
    """

    name: str
    planned: PlannedRun
    run: str = ""

    @cached_property
    def config(self) -> Config:
        """The configuration of the run that is taken.

        Raises:
          UserError: the run that is named is not there, or is one of another experiment.
        """
        if not self.run:
            return self.planned.config
        return read_run(RunReference.parse(self.run).folder, self.planned.module).config

    @property
    def source(self) -> str:
        """Which run is taken, in words for the log."""
        if self.run:
            return f"{self.run}, a run of {self.planned.module}"
        return f"a run of {self.planned.module} that is trained first, in {self.name}/"

    def open(self, folder: epath.Path) -> OpenedRun:
        """The run that is taken, in its folder: trained to its end, or copied if one is named.

        Args:
          folder: of the run that begins with it.

        Raises:
          UserError: the run that is named has no such checkpoint, or the one to train cannot start or go on.
          SystemExit: a signal ended the training early; the same call continues it.
        """
        own = folder / self.name
        if not self.run:
            train_run(self.planned, own)
        else:
            on_main(lambda: self._copy(own))
        return open_run(RunReference(own), self.planned.module)

    def _copy(self, own: epath.Path) -> None:
        run = open_run(RunReference.parse(self.run), self.planned.module)
        copy_run(run.folder, run.step, own)

    def check(self) -> None:
        """Raises UserError if the run that is named has no such checkpoint, or is one of another experiment."""
        if self.run:
            open_run(RunReference.parse(self.run), self.planned.module)

    def start(self, extras: Callable[[OpenedRun], Mapping[str, Tree]]) -> Start:
        """Where a new run takes its frozen part from, for `Experiment.starts`.

        Args:
          extras: `run -> extras`: by name, what the new run's method initialises and this run has learnt, of the same
            shapes.
        """

        def load(
            variables: Mapping[str, Tree], folder: epath.Path, mesh: Mesh, log: Callable[[str], None]
        ) -> Mapping[str, Tree]:
            run = self.open(folder)
            learnt = extras(run)
            placed = {name: jax.tree.map(placed_like, tree, variables[name]) for name, tree in learnt.items()}
            return {**variables, **placed}

        return Start(self.source, load, lambda variables: self.check())

    def encoder(self, check: Callable[[], None]) -> Start:
        """Where a new run takes its encoder from, for `Experiment.starts`; `--init_from` takes its place.

        The run that is trained and the run that begins with it must have the same tokenizer.

        Args:
          check: raises UserError if the new run cannot have the tokenizer of the run that is trained.
        """

        def load(
            variables: Mapping[str, Tree], folder: epath.Path, mesh: Mesh, log: Callable[[str], None]
        ) -> Mapping[str, Tree]:
            run = self.open(folder)
            check_preprocessing(RunReference(run.folder), read_data(folder).preprocessing)
            found = of_modules(MODULES, run.restore(), variables)
            return transfer(RunReference(run.folder), found, variables, log)

        return Start(self.source, load, lambda variables: check(), replaceable=True)
