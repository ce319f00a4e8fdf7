"""A study: several runs, and one table and plots of what they show together."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.evals.plots import save_figures
from ssl_jax.files import write_json, write_whole
from ssl_jax.runs.configuration import RunSettings, read_config, read_settings
from ssl_jax.runs.listing import import_experiment
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.prerequisites import PlannedRun, train_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.warm_start import build_run
from ssl_jax.training.distributed import announce, on_main
from ssl_jax.training.folder import claim
from ssl_jax.training.lock import locked

Config = Any
Runs = Mapping[str, OpenedRun]
"""The finished runs of a study, opened, by name."""
Figures = Mapping[str, Any]
"""Figures of matplotlib, which is imported only to draw them, by name."""


class Table(NamedTuple):
    """What a study found.

    Attributes:
      values: the numbers, as JSON.
      lines: the table as text.
      details: whatever else the plots need; it is not written.
    """

    values: Any
    lines: Sequence[str]
    details: Any = None


class NamedRun(NamedTuple):
    """A run that exists.

    Attributes:
      run: RUN or RUN@STEP.
      module: name of the experiment's module that it must be of, or names of several.
    """

    run: str
    module: str | tuple[str, ...]


class Study(NamedTuple):
    """Several runs that are compared.

    Attributes:
      name: of the files of the table, NAME.txt and NAME.json.
      runs: by name, in the order of training. A `PlannedRun` is trained in the subfolder of its name, a `NamedRun` is
        used as it is.
      table: `(opened runs, folder of the study) -> Table`. It may write files of its own into the folder. Every process
        calls it.
      plot: `(table, opened runs) -> figures` by name, which are written to plots/NAME.png. Process 0 calls it.
      check: raises UserError if something else that the configuration names cannot be used. It is called before the
        folder is claimed.
      then: `opened runs -> more runs`, whose settings follow from the results of the first ones, such as the best of
        several learning rates. They are trained after them; the table is of all. Every process calls it.
    """

    name: str
    runs: Mapping[str, PlannedRun | NamedRun]
    table: Callable[[Runs, epath.Path], Table]
    plot: Callable[[Table, Runs], Figures]
    check: Callable[[], None] = lambda: None
    then: Callable[[Runs], Mapping[str, PlannedRun]] | None = None

    @property
    def planned(self) -> dict[str, PlannedRun]:
        """The runs that the study trains, by name."""
        return {name: run for name, run in self.runs.items() if isinstance(run, PlannedRun)}

    def planned_in(self, folder: epath.Path) -> dict[str, PlannedRun]:
        """As `planned`, with the folder of each run of the study that another one starts from in place of its name."""
        return {
            name: run._replace(init_from=str(folder / run.init_from)) if self._is_own(run.init_from) else run
            for name, run in self.planned.items()
        }

    def _is_own(self, init_from: str | None) -> bool:
        """Whether a source is a run that the study trains, NAME or NAME@STEP."""
        return re.sub("@[0-9]+$", "", init_from or "") in self.planned

    def check_named(self, folder: epath.Path) -> None:
        """Raises UserError if a run or weights that should exist are not there, or are not what they should be.

        Args:
          folder: of the study.
        """
        self.check()
        for run in self.runs.values():
            if isinstance(run, NamedRun):
                open_run(RunReference.parse(run.run), run.module)
        outside = {
            run.init_from: name for name, run in self.planned.items() if not self._is_own(run.init_from)
        }
        outside.pop(None, None)
        for source, name in outside.items():
            run = self.planned[name]
            build_run(import_experiment(run.module).build, run.config, folder / name, source)

    def references(self, folder: epath.Path) -> list[tuple[RunReference, str | tuple[str, ...]]]:
        """(run, name of the experiment's module that it must be of, or names) of all runs of the study in `folder`."""
        return [
            (
                RunReference.parse(run.run) if isinstance(run, NamedRun) else RunReference(folder / name),
                run.module,
            )
            for name, run in self.runs.items()
        ]

    def whole(self, folder: epath.Path) -> "Study":
        """The study with the runs that follow from the first ones, which are finished.

        Args:
          folder: of the study.

        Raises:
          UserError: one of the first runs is not there or has no results.
        """
        if self.then is None:
            return self
        return self._replace(runs={**self.runs, **self.then(self.open(folder))}, then=None)

    def open(self, folder: epath.Path) -> dict[str, OpenedRun]:
        """Opens all runs of the study in `folder`.

        Raises:
          UserError: a run is not there, or is a run of another experiment.
        """
        return {
            name: open_run(*reference)
            for name, reference in zip(self.runs, self.references(folder), strict=True)
        }


def study_settings(module: str, preset: str, config: Config) -> RunSettings:
    """The content of the config.json of a study."""
    return {"experiment": module, "preset": preset, "config": dataclasses.asdict(config)}


def load_study(folder: epath.Path) -> Study | None:
    """The study of a folder, from its own configuration; None if the folder holds a single run.

    Raises:
      UserError: the folder has no config.json, or one that does not fit this version.
    """
    settings, module = read_settings(folder)
    if not hasattr(module, "study"):
        return None
    study = module.study(read_config(settings, module, folder))
    try:
        return study.whole(folder)
    except UserError:  # the first runs are not finished: there are no others yet
        return study


def run_study(study: Study, folder: epath.Path, settings: Mapping[str, Any]) -> int:
    """Trains what is not finished yet, then writes and prints the table, and draws the plots.

    A study that was stopped at any point continues there: a finished run is not trained again, and the table is made
    from the checkpoints of the runs.

    Args:
      study: the runs and what is made of them.
      folder: of the study.
      settings: see `study_settings`; another configuration in the same folder is refused.

    Returns:
      The exit code 0. A signal that stops one of the runs ends the process with 128 + its number.

    Raises:
      UserError: the folder belongs to something else, or a run cannot start or go on.
    """
    study.check()
    study.check_named(folder)  # before the folder is claimed, so that a misspelt name can be corrected
    with ExitStack() as held:
        on_main(lambda: held.enter_context(locked(folder, print)))
        on_main(lambda: claim(folder, settings))
        _train_and_compare(study, folder)
    return 0


def _train_and_compare(study: Study, folder: epath.Path) -> None:
    first = study.planned_in(folder)
    _train(first, folder, [*first])
    study = study.whole(folder)
    planned = study.planned_in(folder)
    _train(planned, folder, [name for name in planned if name not in first])
    runs = study.open(folder)
    table = study.table(runs, folder)
    on_main(lambda: _write(study, table, runs, folder))
    announce(f"\nthe table {study.name}.txt, its numbers {study.name}.json and plots are in {folder}")


def _train(planned: Mapping[str, PlannedRun], folder: epath.Path, names: Sequence[str]) -> None:
    """Trains the named ones of the runs of a study."""
    numbers = {name: number for number, name in enumerate(planned, 1)}
    for name in names:
        announce(f"\nrun {numbers[name]} of {len(planned)}: {name}")
        # The table shows what each run has learnt; samples and a report of every one would only take time.
        if not train_run(planned[name], folder / name, report=False):
            announce(f"{folder / name}: already finished")


def _write(study: Study, table: Table, runs: Runs, folder: epath.Path) -> None:
    lines = "\n".join(table.lines)
    announce(f"\n{lines}")
    write_json(folder / f"{study.name}.json", table.values)
    write_whole(folder / f"{study.name}.txt", f"{lines}\n")
    save_figures(study.plot(table, runs), folder / "plots")
