"""A study of two small runs, for what the machinery does around studies."""

from dataclasses import dataclass, field, replace

from experiments import minimal
from ssl_jax.cli import main
from ssl_jax.evals.plots import new_axes
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import NamedRun, Study, Table
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.training.experiment import TrainConfig

SHORT = TrainConfig(batch_size=64, log_every=5, eval_every=10, save_every=10, keep_every=10)
LONG = TrainConfig(batch_size=64, log_every=5, eval_every=100, save_every=100)


@dataclass(frozen=True)
class Config:
    """Runs with different noise."""

    noises: tuple[float, ...] = (0.1, 0.3)
    """Of each run."""
    runs: tuple[str, ...] = ()
    """Existing runs that are compared with them."""
    each: minimal.Config = field(
        default_factory=lambda: replace(minimal.PRESETS["digits"], steps=40, train=SHORT)
    )
    """The configuration of each run."""


PRESETS = {"digits": Config(), "long": Config(each=replace(Config().each, steps=400, train=LONG))}


def study(config: Config) -> Study:
    """The error of every run on its held-out images."""
    planned = {
        f"noise-{noise}": PlannedRun(minimal.__name__, "digits", replace(config.each, noise=noise))
        for noise in config.noises
    }
    named = {run: NamedRun(run, minimal.__name__) for run in config.runs}
    return Study("errors", planned | named, tabulate, plot)


def tabulate(runs, folder):
    values = {}
    for name, run in runs.items():
        extras = run.restore()
        evaluator = Evaluator(run.experiment, run.mesh)
        values[name] = evaluator(extras.pop("params"), extras, run.data, "heldout")
    return Table(values, [f"{name}: {row['reconstruction_loss']:.6f}" for name, row in values.items()])


def plot(table, runs):
    figure, axes = new_axes(title="held-out error")
    axes.bar(list(runs), [table.values[name]["reconstruction_loss"] for name in runs])
    return {"errors": figure}


if __name__ == "__main__":
    main(PRESETS, study=study)
