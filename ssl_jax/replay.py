"""Reproduces the curves of runs from their checkpoints.

    python -m ssl_jax.replay runs/bert-tiny
    python -m ssl_jax.replay runs/simclr-digits runs/byol-digits --output plots    # their curves in one plot
    python -m ssl_jax.replay runs/bart_noises-tiny                                 # every run of a study

Every kept checkpoint of every run is evaluated again, with the run's own configuration, on the devices at hand. The
metrics are compared with those logged at training time: on the same kind of devices they are equal to the last bit.
The curves of all runs are drawn into one plot per kind of metric. Exits with code 1 if a metric differs by more than
1e-3.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import tyro
from etils import epath

from ssl_jax.cli import guarded
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_curves, save_figures
from ssl_jax.runs.opening import OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.study import load_study
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.metrics import read as read_log

TOLERANCE = 1e-3
"""Difference, relative to the larger of the metric and 1, that other devices and library versions may make."""


class Comparison(NamedTuple):
    """A metric of a checkpoint, as it was logged and as it is now.

    Attributes:
      step: of the checkpoint.
      split: name of the held-out set.
      name: of the metric.
      logged: its value at training time; None if the run did not evaluate at this step.
      replayed: its value now.
    """

    step: int
    split: str
    name: str
    logged: float | None
    replayed: float

    @property
    def difference(self) -> float:
        """Relative to the larger of the metric and 1."""
        if self.logged is None:
            return 0.0
        return abs(self.replayed - self.logged) / max(abs(self.logged), 1.0)

    def __str__(self) -> str:
        if self.logged is None:
            return f"{self.name} {self.replayed:.6g} (not logged)"
        if self.logged == self.replayed:
            return f"{self.name} {self.replayed:.6g} (equal)"
        return f"{self.name} {self.replayed:.6g} (logged {self.logged:.6g}, differs by {self.difference:.1e})"


def replay(run: OpenedRun, log: Callable[[str], None]) -> list[Comparison]:
    """Evaluates every kept checkpoint of a run. Raises UserError if the run's data has changed."""
    experiment = run.experiment
    evaluator = Evaluator(experiment, run.mesh)
    logged = {(line["step"], line["split"]): line for line in read_log(run.folder) if "split" in line}

    comparisons = []
    for step in run.checkpoints.steps():
        extras = run.restore(step)
        params = extras.pop("params")
        phase, _ = experiment.phase_at(step - 1)
        for split, dataset in run.data.heldout[phase].items():
            line: Mapping = logged.get((step, split), {})
            new = [
                Comparison(step, split, name, line.get(name), value)
                for name, value in evaluator(params, extras, dataset).items()
            ]
            log(f"step {step}  {split}: {'  '.join(map(str, new))}")
            comparisons += new
    return comparisons


def runs_in(folders: Sequence[epath.Path]) -> list[OpenedRun]:
    """The runs in the folders, opened: of a run's folder the run, of a study's folder all of its runs."""
    runs: list[OpenedRun] = []
    for folder in folders:
        study = load_study(folder)
        runs += study.open(folder).values() if study else [open_run(RunReference(folder))]
    return runs


@dataclass(frozen=True)
class Arguments:
    """Evaluates the kept checkpoints of runs again and draws their curves."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of runs or of studies."""
    output: str = ""
    """Folder of the plots; empty for replay/ in the first of the folders."""


def main(arguments: list[str]) -> int:
    """Replays the runs named on the command line. Returns the exit code."""
    chosen = tyro.cli(
        Arguments, args=arguments, prog="python -m ssl_jax.replay", description=__doc__, use_underscores=True
    )
    folders = [epath.Path(run).expanduser() for run in chosen.runs]
    if not folders:
        raise UserError("no run to replay: name one or several run folders, such as runs/bert-tiny.")
    curves, headline, worst = {}, {}, 0.0
    for run in runs_in(folders):
        print(f"{run.folder}:")
        with closing(run):
            comparisons = replay(run, print)
        differing = sum(comparison.difference > 0 for comparison in comparisons)
        worst = max([worst, *(comparison.difference for comparison in comparisons)])
        compared = sum(comparison.logged is not None for comparison in comparisons)
        print(f"{compared - differing} of {compared} metrics equal those logged at training time")
        curves[str(run.folder)] = read_log(run.folder)
        headline |= dict.fromkeys(run.experiment.headline)
    files = save_figures(draw_curves(curves, headline), epath.Path(chosen.output or folders[0] / "replay"))
    print("curves: " + ", ".join(str(file) for file in files))
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
