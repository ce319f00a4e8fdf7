"""What an experiment's `build(config)` returns: a method, its data and its figures, and nothing hidden."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import grain
import jax
import numpy as np
import optax
from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.method import Method, Represent, Tree, example_shape
from ssl_jax.training.sharding import MeshConfig, Rules


@dataclass(frozen=True)
class TrainConfig:
    """Length and rhythm of a run. The intervals are in steps; a checkpoint is also written at the last step."""

    batch_size: int = 32
    """Examples per step, over all devices and hosts."""
    micro_batches: int = 1
    """Parts in which a batch is computed to save memory; the result is that of the whole batch."""
    seed: int = 0
    """Decides initialisation, order of the data, masks and dropout."""
    log_every: int = 20
    """Steps averaged in one line of metrics.jsonl."""
    eval_every: int = 500
    """Steps between two evaluations on held-out data; also evaluated at the last step."""
    save_every: int = 500
    """Steps between two checkpoints."""
    keep_latest: int = 2
    """Newest checkpoints to keep."""
    keep_every: int = 500
    """Checkpoints at multiples of this many steps are kept for good; `replay` draws curves from them."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < (least := 0 if field.name == "seed" else 1):
                raise UserError(f"train.{field.name} {value} must be at least {least}.")


class Phase(NamedTuple):
    """A stretch of training with batches of one shape.

    Attributes:
      steps: its length.
      rows: shape and dtype of every array of the global batch that the data makes, known without reading any.
      work: what the speed counts, and how much of it a batch holds: ("tokens", batch * length).
    """

    steps: int
    rows: Mapping[str, jax.ShapeDtypeStruct]
    work: tuple[str, int]

    @property
    def batch_size(self) -> int:
        """Examples per step, over all devices and hosts."""
        return next(iter(self.rows.values())).shape[0]

    @property
    def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of every array that a method receives: the rows and `example_weight`."""
        return {**self.rows, "example_weight": example_shape(self.batch_size)}


class Data(NamedTuple):
    """The opened data of a run.

    train: per phase, an endless `grain.MapDataset` of single examples (dictionaries of NumPy arrays).
    heldout: per phase and by name, finite ones for evaluation.
    identity: what must not change between a run and its continuation, such as the hash of a tokenizer.
    details: whatever the experiment's report needs.
    labelled: finite ones with a `label`, for probes of the representation: `train` to fit them, `heldout` to score.
    """

    train: tuple[grain.MapDataset, ...]
    heldout: tuple[Mapping[str, grain.MapDataset], ...]
    identity: Mapping[str, str]
    details: Any = None
    labelled: Mapping[str, grain.MapDataset] = {}


class Represented(NamedTuple):
    """A data set as a frozen model sees it: float32 `features [examples, width]` and int32 `labels [examples]`."""

    features: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Report:
    """What an experiment's report, and its samples along the way, have to show results with.

    folder: the run folder, to write plots and samples into, by the one process that `writes`; every process makes the
    report, since the arrays may be spread over all of them. log: prints a line. step: finished steps. variables:
    {"params": ..., **extras}. figures: the last evaluation, by split. represent: `(function, variables, dataset) ->
    Represented`, where the function is of the kind of the experiment's `represent`. initial_variables: what the run
    would begin with from scratch, the untrained model to compare with.
    """

    folder: epath.Path
    writes: bool
    log: Callable[[str], None]
    step: int
    variables: Mapping[str, Tree]
    data: Data
    metrics: Mapping[str, Mapping[str, float]]
    represent: Callable[[Represent, Mapping[str, Tree], grain.MapDataset], Represented]
    initial_variables: Callable[[], Mapping[str, Tree]]


class Experiment(NamedTuple):
    """An experiment, ready to run. Building one reads no data and allocates nothing.

    method, optimizer, train, mesh: what is trained, how.
    phases: one, or several with batches of different shapes.
    open_data: `(run folder) -> Data`; the place where files are read and tokenizers trained.
    derive: `(figures) -> further figures` of an evaluation's means, such as a perplexity, which is not a mean itself.
    represent: `(params, extras, batch) -> [batch, width]`, what a frozen model makes of examples, for probes.
    rules: where the parameters live on the mesh.
    schedules: functions of the step to log, such as {"learning_rate": schedule}.
    headline: names of the figures that the progress bar and the plots show.
    sample: called after each evaluation, to write what the model makes by then into the run folder. Its files are a
        function of the report, so that a step that is done again after a restart writes the same ones.
    report: called once at the end of a run, to print and draw what only this experiment can.
    decoder: how the model writes text (`ssl_jax.decoding.decoder.Decoder`), for `ssl_jax.generate`.
    import_weights: `(path) -> params` from another library's files, for `--init_from`.
    frozen: `(run folder) -> extras` that another run has learnt, such as the VQ-VAE under its prior. Called by every
        process where a run begins; later they come from its checkpoints. They have the shapes that `method.init` gives
        them.
    """

    method: Method
    optimizer: optax.GradientTransformation
    train: TrainConfig
    mesh: MeshConfig
    phases: tuple[Phase, ...]
    open_data: Callable[[epath.Path], Data]
    derive: Callable[[Mapping[str, float]], Mapping[str, float]] = lambda metrics: {}
    represent: Represent | None = None
    rules: Rules = ()
    schedules: Mapping[str, Callable[[int], jax.Array]] = {}
    headline: tuple[str, ...] = ("loss",)
    sample: Callable[[Report], None] | None = None
    report: Callable[[Report], None] | None = None
    decoder: Any = None
    import_weights: Callable[[epath.Path], Tree] | None = None
    frozen: Callable[[epath.Path], Mapping[str, Tree]] | None = None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return sum(phase.steps for phase in self.phases)

    def phase_at(self, step: int) -> tuple[int, int]:
        """(phase, step within it) of the step that follows `step` finished ones; the last phase once all are."""
        for number, phase in enumerate(self.phases):
            if step < phase.steps:
                return number, step
            step -= phase.steps
        return len(self.phases) - 1, self.phases[-1].steps
