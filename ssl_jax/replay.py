"""Reproduces a run's curves from its checkpoints.

    python -m ssl_jax.replay RUN [RUN...] [--output DIR]

Every kept checkpoint of every run is evaluated again, from the run's own config.json, on the devices at hand. The
figures are set beside those logged at training time: on the same kind of devices they are equal to the last bit. The
curves of all runs are drawn into one picture per kind of figure. Exits with code 1 if a figure differs by more than
1e-3.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import tyro
from etils import epath

from ssl_jax.cli import guarded
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_curves
from ssl_jax.runs.configuration import load_experiment
from ssl_jax.runs.opening import open_run
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.metrics import read as read_log

TOLERANCE = 1e-3
"""Difference, relative to the larger of the figure and 1, that other devices and library versions may make."""


class Figure(NamedTuple):
    """One figure of one checkpoint, logged and replayed; `logged` is None if the run did not evaluate there."""

    step: int
    split: str
    name: str
    logged: float | None
    replayed: float

    @property
    def difference(self) -> float:
        """Relative to the larger of the figure and 1."""
        if self.logged is None:
            return 0.0
        return abs(self.replayed - self.logged) / max(abs(self.logged), 1.0)


def replay(folder: epath.Path, log: Callable[[str], None]) -> list[Figure]:
    """Evaluates every kept checkpoint of a run. Raises UserError if it has none, or if its data has changed."""
    run = open_run(folder)
    experiment = run.experiment
    if experiment.evaluate is None:
        raise UserError(f"{folder}: this experiment has no evaluation to replay.")
    evaluator = Evaluator(experiment, run.mesh)
    logged = {(line["step"], line["split"]): line for line in read_log(folder) if "split" in line}

    metrics = []
    for step in run.checkpoints.steps():
        extras = run.restore(step)
        params = extras.pop("params")
        phase, _ = experiment.phase_at(step - 1)
        for split, dataset in run.data.heldout[phase].items():
            line: Mapping = logged.get((step, split), {})
            new = [
                Figure(step, split, name, line.get(name), value)
                for name, value in evaluator(params, extras, dataset).items()
            ]
            log(f"step {step}  {split}: {'  '.join(describe(figure) for figure in new)}")
            metrics += new
    return metrics


def describe(figure: Figure) -> str:
    """The replayed figure, and how it compares with the logged one."""
    if figure.logged is None:
        return f"{figure.name} {figure.replayed:.6g} (not logged)"
    if figure.logged == figure.replayed:
        return f"{figure.name} {figure.replayed:.6g} (equal)"
    return f"{figure.name} {figure.replayed:.6g} (logged {figure.logged:.6g}, off by {figure.difference:.1e})"


@dataclass(frozen=True)
class Arguments:
    """Evaluates the kept checkpoints of runs again and draws their curves."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Run folders."""
    output: str = ""
    """Where the pictures go; the folder replay/ of the first run if empty."""


def main(arguments: list[str]) -> int:
    """Replays the runs named on the command line. Returns the exit code."""
    chosen = tyro.cli(Arguments, args=arguments, prog="python -m ssl_jax.replay")
    folders = [epath.Path(run).expanduser() for run in chosen.runs]
    if not folders:
        raise UserError("no run to replay: name one or several run folders, such as runs/bert-tiny.")
    curves, headline, worst = {}, {}, 0.0
    for folder in folders:
        print(f"{folder}:")
        metrics = replay(folder, print)
        different = [figure for figure in metrics if figure.difference]
        worst = max([worst, *(figure.difference for figure in metrics)])
        compared = sum(figure.logged is not None for figure in metrics)
        print(f"{compared - len(different)} of {compared} figures equal those logged at training time")
        curves[str(folder)] = read_log(folder)
        headline |= dict.fromkeys(load_experiment(folder)[0].headline)
    files = draw_curves(curves, epath.Path(chosen.output or folders[0] / "replay"), headline)
    print("curves: " + ", ".join(str(file) for file in files))
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
