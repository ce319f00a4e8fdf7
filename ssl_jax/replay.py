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

import jax
import tyro
from etils import epath

from ssl_jax.cli import guarded, load_experiment
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_curves
from ssl_jax.training import folder as run_folder
from ssl_jax.training import metrics
from ssl_jax.training.checkpoints import Checkpoints
from ssl_jax.training.compiling import Program
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import Experiment
from ssl_jax.training.sharding import MeshConfig, make_mesh

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


def replay(folder: epath.Path, say: Callable[[str], None]) -> list[Figure]:
    """Evaluates every kept checkpoint of a run. Raises UserError if it has none, or if its data has changed."""
    experiment, _ = load_experiment(folder)
    if experiment.evaluate is None:
        raise UserError(f"{folder}: this experiment has no evaluation to replay.")
    checkpoints = Checkpoints(folder / "checkpoints")
    if not checkpoints.steps():
        raise UserError(f"{folder}: has no complete checkpoint to replay.")
    data = experiment.open_data(folder)
    run_folder.check_data(folder, data.identity)
    mesh = make_mesh(_mesh_at_hand(experiment))
    state = Program(experiment, mesh).state
    evaluator = Evaluator(experiment, mesh)
    logged = {(line["step"], line["split"]): line for line in metrics.read(folder) if "split" in line}

    figures = []
    for step in checkpoints.steps():
        extras = dict(checkpoints.restore_model(step, {"params": state.params, **state.extras}))
        params = extras.pop("params")
        phase, _ = experiment.phase_at(step - 1)
        for split, dataset in data.heldout[phase].items():
            line: Mapping = logged.get((step, split), {})
            new = [
                Figure(step, split, name, line.get(name), value)
                for name, value in evaluator(params, extras, dataset).items()
            ]
            say(f"step {step}  {split}: {'  '.join(describe(figure) for figure in new)}")
            figures += new
    return figures


def _mesh_at_hand(experiment: Experiment) -> MeshConfig:
    """The run's own mesh where it fits the devices, else copies of the model on all of them that divide the batch."""
    devices, own = jax.device_count(), experiment.mesh
    fixed = own.fsdp * own.tensor
    if devices % fixed == 0 and own.data in (-1, devices // fixed):
        return own
    if experiment.train.batch_size % devices == 0:
        return MeshConfig()
    raise UserError(f"train.batch_size {experiment.train.batch_size} does not divide over {devices} devices.")


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
        figures = replay(folder, print)
        different = [figure for figure in figures if figure.difference]
        worst = max([worst, *(figure.difference for figure in figures)])
        compared = sum(figure.logged is not None for figure in figures)
        print(f"{compared - len(different)} of {compared} figures equal those logged at training time")
        curves[str(folder)] = metrics.read(folder)
        headline |= dict.fromkeys(load_experiment(folder)[0].headline)
    files = draw_curves(curves, epath.Path(chosen.output or folders[0] / "replay"), headline)
    print("curves: " + ", ".join(str(file) for file in files))
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
