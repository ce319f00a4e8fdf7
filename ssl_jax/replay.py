"""Reproduces the curves of runs from their checkpoints.

    python -m ssl_jax.replay runs/bert-tiny
    python -m ssl_jax.replay runs/simclr-digits runs/byol-digits --output plots    # their curves in one plot
    python -m ssl_jax.replay runs/bart_noises-tiny                                 # every run of a study
    python -m ssl_jax.replay /shared/run --data.source ~/corpus.txt --output plots # a colleague's, data elsewhere

Every kept checkpoint of every run is evaluated again, with the run's own configuration, on the devices at hand. The
metrics are compared with those logged at training time: on the same kind of devices they are equal to the last bit.
The curves of all runs are drawn into one plot per kind of metric, those of a single run beside the baselines of its
report.

Exits with code 0 if all metrics are equal to within 1e-3, with 3 if one differs (NaN differs from everything), and with
2 if a run could not be evaluated or its log lacks an evaluation that it should hold. Of several runs, the others are
replayed all the same, and the largest code is returned. Code 1 is that of an error in the program.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import tyro
from etils import epath

from ssl_jax.cli import read_arguments
from ssl_jax.domains import NonEmptyText, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.figure_formats import FigureFormat, also_as
from ssl_jax.evals.metric_names import COLLAPSE
from ssl_jax.evals.plots import draw_curves, save_figures
from ssl_jax.files import check_output_folder
from ssl_jax.guard import guarded
from ssl_jax.runs.opening import DataPlaces, OpenedRun, open_run
from ssl_jax.runs.reference import RunReference
from ssl_jax.runs.study import load_study
from ssl_jax.training.changes import EVAL_EVERY, due_steps, read_changes
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.folder import LOG, read_baselines
from ssl_jax.training.metrics import LABELS, Line
from ssl_jax.training.metrics import read as read_log
from ssl_jax.training.program_cache import keep_programs

DIFFERS, NOT_REPLAYED = 3, 2
"""Exit codes."""
TOLERANCE = 1e-3
"""Difference, relative to the larger of the metric and 1, that other devices and library versions may make."""


class Comparison(NamedTuple):
    """A metric of a checkpoint, as it was logged and as it is now.

    Attributes:
      step: of the checkpoint.
      split: name of the held-out set.
      name: of the metric.
      logged: its value at training time; None if the log does not have it.
      replayed: its value now; None if the evaluation does not give it any more.
    """

    step: int
    split: str
    name: str
    logged: float | None
    replayed: float | None

    @property
    def difference(self) -> float:
        """Relative to the larger of the metric and 1; infinite if one of the values is NaN or is not there."""
        if self.logged is None or self.replayed is None or math.isnan(self.logged):
            return math.inf
        if self.logged == self.replayed:
            return 0.0
        difference = abs(self.replayed - self.logged) / max(abs(self.logged), 1.0)
        return math.inf if math.isnan(difference) else difference

    def __str__(self) -> str:
        if self.replayed is None:
            return f"{self.name} (logged {self.logged:.6g}, not evaluated any more)"
        if self.logged is None:
            return f"{self.name} {self.replayed:.6g} (not logged)"
        if self.difference == 0.0:
            return f"{self.name} {self.replayed:.6g} (equal)"
        return f"{self.name} {self.replayed:.6g} (logged {self.logged:.6g}, differs by {self.difference:.1e})"


class Replayed(NamedTuple):
    """A run that was evaluated again.

    Attributes:
      comparisons: of all metrics that were logged at the steps of its checkpoints.
      missing: step and split of each evaluation that the run made and its log lacks.
    """

    comparisons: list[Comparison]
    missing: list[tuple[int, str]]

    @property
    def code(self) -> int:
        """The exit code for this run."""
        differs = any(comparison.difference > TOLERANCE for comparison in self.comparisons)
        return DIFFERS if differs else NOT_REPLAYED if self.missing else 0

    def __str__(self) -> str:
        differing = sum(comparison.difference > 0 for comparison in self.comparisons)
        compared = len(self.comparisons)
        equal = f"{compared - differing} of {compared} metrics equal those logged at training time"
        if not self.missing:
            return equal
        lacking = ", ".join(f"step {step} ({split})" for step, split in self.missing)
        return f"{equal}; {LOG} lacks the evaluations of {lacking}, which could not be compared"


def replay(run: OpenedRun, log: Callable[[str], None]) -> Replayed:
    """Evaluates every kept checkpoint of a run. Raises UserError if the run's data has changed."""
    experiment = run.experiment
    evaluator = Evaluator(experiment, run.mesh)
    logged = {(line["step"], line["split"]): line for line in read_log(run.folder) if "split" in line}

    steps = run.checkpoints.steps()
    every = experiment.train.eval_every
    evaluated = {experiment.steps, *due_steps(read_changes(run.folder), EVAL_EVERY, steps[-1], every)}
    replayed = Replayed([], [])
    for step in steps:
        extras = run.restore(step)
        params = extras.pop("params")
        phase, _ = experiment.phase_at(step - 1)
        for split in run.data.heldout[phase]:
            metrics = evaluator(params, extras, run.data, split, phase=phase)
            line = logged.get((step, split))
            names = dict.fromkeys([*metrics, *(line or {})])
            new = [
                Comparison(step, split, name, (line or {}).get(name), metrics.get(name))
                for name in names
                if name not in LABELS
            ]
            log(f"step {step}  {split}: {'  '.join(map(str, new))}")
            if line is not None:
                replayed.comparisons.extend(new)
            elif step in evaluated:
                replayed.missing.append((step, split))
    return replayed


def runs_in(folder: epath.Path) -> list[tuple[RunReference, str | tuple[str, ...] | None]]:
    """(run, modules of which it must be) of the run in a folder, or of all runs of the study in it."""
    study = load_study(folder)
    return study.references(folder) if study else [(RunReference(folder), None)]


@dataclass(frozen=True)
class Arguments(Settings):
    """Evaluates the kept checkpoints of runs again and draws their curves."""

    runs: Annotated[tuple[NonEmptyText, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Folders of runs or of studies."""
    output: Text = ""
    """Folder of the plots; empty for replay/ in the first of the folders. For runs in a folder that cannot be written,
    name another one."""
    data: DataPlaces = field(default_factory=DataPlaces)
    figures: tuple[FigureFormat, ...] = ()
    """Formats in which figures are written beside PNG: pdf, svg, or both."""


def main(arguments: list[str]) -> int:
    """Replays the runs named on the command line. Returns the exit code."""
    chosen = read_arguments(Arguments, arguments, prog="python -m ssl_jax.replay", description=__doc__)
    folders = [epath.Path(run).expanduser() for run in chosen.runs]
    if not folders:
        raise UserError("no run to replay: name one or several run folders, such as runs/bert-tiny.")
    output = epath.Path(chosen.output or folders[0] / "replay").expanduser()
    curves: dict[str, Sequence[Line]] = {}
    headline: dict[str, None] = {}
    codes = [0]
    keep_programs()
    for folder in folders:
        with _going_on(codes):
            for reference, module in runs_in(folder):
                with _going_on(codes):
                    run = open_run(reference, module, chosen.data)
                    check_output_folder(output)
                    print(f"{run.folder}:")
                    replayed = replay(run, print)
                    print(replayed)
                    codes.append(replayed.code)
                    curves[str(run.folder)] = read_log(run.folder)
                    headline |= dict.fromkeys(run.experiment.headline)
    if curves:
        only = epath.Path(next(iter(curves))) if len(curves) == 1 else None
        baselines = read_baselines(only) if only else {}
        with also_as(chosen.figures):
            files = save_figures(draw_curves(curves, [*headline, *COLLAPSE], baselines), output)
        print("curves: " + ", ".join(str(file) for file in files))
    return max(codes)


@contextlib.contextmanager
def _going_on(codes: list[int]) -> Iterator[None]:
    """Tells a user's mistake and adds its code, so that the other runs are replayed all the same."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        codes.append(NOT_REPLAYED)


if __name__ == "__main__":
    sys.exit(guarded(lambda: main(sys.argv[1:])))
