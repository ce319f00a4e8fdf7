"""Which noise teaches what: BART's comparison of noises (Lewis et al. 2019, arXiv:1910.13461, table 1), in small.

    python -m experiments.bart_noises                      # offline, about 15 minutes on 2 CPU cores
    python -m experiments.bart_noises base --workdir gs://...    # the paper's base model, for a TPU pod

The same model is trained under each noise, with equal steps, seed and rows. Every model then denoises the held-out text
as each of the noises has corrupted it. Two more columns are noises that no model is trained with: text that is not
corrupted at all, which asks for copying, and text of which nothing is left, where the decoder is a language model.
Each training is an ordinary run of experiments.bart in a folder of its own. The table is printed and written to
noises.txt and noises.json, with a heat map and the curves of all runs in plots/.

On TPUs: base on v5e:4x4 (docs/planning.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from experiments import bart
from ssl_jax.cli import main
from ssl_jax.domains import Settings
from ssl_jax.errors import UserError
from ssl_jax.evals.plots import draw_curves, draw_matrix
from ssl_jax.reports.tables import aligned
from ssl_jax.runs.prerequisites import PlannedRun
from ssl_jax.runs.study import Figures, Runs, Study, Table
from ssl_jax.training import metrics
from ssl_jax.training.evaluate import Evaluator
from ssl_jax.transforms.noise import NoiseConfig

NO_NOISE = NoiseConfig(permutation=0, infilling=0)
NOISES = {
    "masking": replace(NO_NOISE, masking=0.3),
    "deletion": replace(NO_NOISE, deletion=0.3),
    "infilling": replace(NO_NOISE, infilling=0.3),
    "permutation": replace(NO_NOISE, permutation=1.0),
    "rotation": replace(NO_NOISE, rotation=1.0),
    "bart": NoiseConfig(),
}
"""Noises to train with. `bart` is infilling and permutation together, the paper's choice."""
TESTED = NOISES | {"nothing": NO_NOISE, "all hidden": NoiseConfig(permutation=0, infilling=1, mean_span=100)}
"""Noises that every model is tested with. Where all is hidden, one mask stands for the whole text."""

METRICS = {
    "token_accuracy": ("token accuracy", ".1%"),
    "token_loss": ("nats per token", ".3f"),
    "exact_accuracy": ("rows with all tokens right", ".1%"),
}
"""Of the table: title and format."""

Matrix = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Metrics by the noise trained with and the noise tested with."""

TINY = bart.PRESETS["tiny"]


@dataclass(frozen=True)
class Config(Settings):
    """BART's noises compared at equal steps."""

    each: bart.Config = field(
        default_factory=lambda: replace(
            TINY,
            steps=800,
            length=32,
            model=replace(TINY.model, positions=32),
            train=replace(TINY.train, batch_size=32, eval_every=200, save_every=200, keep_every=800),
        )
    )
    """The configuration of each run; its noise is replaced by one of those compared."""


PRESETS = {"tiny": Config(), "base": Config(bart.PRESETS["base"])}


def study(config: Config) -> Study:
    """A run for each noise, and the table of every model on every noise."""
    return Study(
        name="noises",
        runs={
            name: PlannedRun(bart.__name__, "tiny", replace(config.each, noise=noise))
            for name, noise in NOISES.items()
        },
        table=lambda runs, folder: tabulate(evaluate(config, runs)),
        plot=draw,
    )


def evaluate(config: Config, runs: Runs) -> Matrix:
    """Every model on every noise, on the same held-out rows."""
    first = next(iter(runs.values()))
    for run in runs.values():
        if run.data.identity != first.data.identity:
            raise UserError(
                f"{run.folder}: its text or tokenizer differs from that of {first.folder}; remove this run folder to "
                "train it anew."
            )
    models = {name: run.restore() for name, run in runs.items()}
    matrix: dict[str, dict[str, dict[str, float]]] = {name: {} for name in runs}
    for tested, noise in TESTED.items():
        evaluator = Evaluator(bart.build(replace(first.config, noise=noise)), first.mesh)
        for name, variables in models.items():
            extras = dict(variables)
            matrix[name][tested] = evaluator(extras.pop("params"), extras, first.data, "heldout")
    return matrix


def tabulate(matrix: Matrix) -> Table:
    """For each metric a row for each noise trained with."""
    lines = []
    for metric, (title, form) in METRICS.items():
        body = [
            [name, *(format(row[tested][metric], form) for tested in TESTED)] for name, row in matrix.items()
        ]
        lines += [f"{title}, by the noise to undo:", *aligned([["trained on", *TESTED], *body]), ""]
    return Table(matrix, lines)


def draw(table: Table, runs: Runs) -> Figures:
    """A heat map of the accuracies, and the curves of all runs, each on its own noise."""
    noises = draw_matrix(
        [[row[tested]["token_accuracy"] for tested in TESTED] for row in table.values.values()],
        rows=list(runs),
        columns=list(TESTED),
        title="token accuracy on held-out text",
        labels=("noise to undo", "noise trained on"),
    )
    curves = {name: metrics.read(run.folder) for name, run in runs.items()}
    return {"noises": noises, **draw_curves(curves, ["token_loss", "token_accuracy"])}


if __name__ == "__main__":
    main(PRESETS, study=study)
