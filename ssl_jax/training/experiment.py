"""What an experiment's `build(config)` returns: a method, its data and its metrics, and nothing hidden."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import grain
import jax
import optax
from etils import epath
from jax.sharding import Mesh

from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.domains import BatchSize, NonNegativeInt, PositiveInt, Seed, Settings, Text
from ssl_jax.errors import UserError
from ssl_jax.method import Method, Represent, Tree, example_shape
from ssl_jax.training.mapping import MapFunction, map_examples
from ssl_jax.training.sharding import MeshConfig, Rules, replicated


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Length and rhythm of a run. The intervals are in steps; a checkpoint is also written at the last step."""

    batch_size: BatchSize = 32
    """Examples per step, over all devices and hosts."""
    micro_batches: BatchSize = 1
    """Parts in which a batch is computed to save memory. The result is that of the whole batch, but for losses that
    compare examples and for batch statistics: these see one part at a time."""
    seed: Seed = 0
    """Decides initialisation, order of the data, masks and dropout."""
    log_every: PositiveInt = 20
    """Steps averaged in one line of metrics.jsonl."""
    eval_every: PositiveInt = 500
    """Steps between two evaluations on held-out data; also evaluated at the last step."""
    save_every: PositiveInt = 500
    """Steps between two checkpoints."""
    keep_latest: PositiveInt = 2
    """Newest checkpoints to keep."""
    keep_every: PositiveInt = 500
    """Checkpoints at multiples of this many steps are kept for good; `replay` draws curves from them."""
    best_metric: Text = ""
    """A metric of the evaluations, such as macro_f1. The checkpoint with its best value is kept too, as RUN@best, and
    the report is made of it. With several held-out sets: SET/METRIC. Empty: the report is of the last step."""
    best_is: Literal["auto", "highest", "lowest"] = "auto"
    """Which value of best_metric is the best; auto: the lowest of losses and errors, the highest of accuracies, F1
    scores and correlations."""
    patience: NonNegativeInt = 0
    """Evaluations without a better best_metric after which the run ends early; 0 trains all steps."""

    def check_relations(self) -> None:
        if self.best_metric and higher_is_better(self) is None:
            raise UserError(
                f"train.best_metric {self.best_metric}: it is not known which value is the best; give "
                "--train.best_is highest or --train.best_is lowest."
            )
        if self.patience and not self.best_metric:
            raise UserError(
                f"train.patience {self.patience}: counts evaluations without a better value of a metric; name the "
                "metric with --train.best_metric."
            )


LOWEST = re.compile(r"(^|_)(loss|error)$|^bits_per_")
HIGHEST = re.compile(r"(^|_)(accuracy|f1|precision|recall|match|matthews|pearson|spearman|auroc)$")
"""Names of metrics whose lowest value, and whose highest value, is the best."""


def higher_is_better(config: TrainConfig) -> bool | None:
    """Whether the highest value of `best_metric` is the best; None if that is not known."""
    name = config.best_metric.rpartition("/")[2]
    if config.best_is == "auto" and not (LOWEST.search(name) or HIGHEST.search(name)):
        return None
    return config.best_is == "highest" or (config.best_is == "auto" and not LOWEST.search(name))


class Shape(NamedTuple):
    """A shape of batches.

    Attributes:
      rows: shape and dtype of every array of the global batch that the data makes, known without reading any.
      work: how much of what the speed counts a batch holds.
    """

    rows: Mapping[str, jax.ShapeDtypeStruct]
    work: int


class Phase(NamedTuple):
    """A stretch of training with batches of one shape, or of a few.

    Attributes:
      steps: its length.
      rows: shape and dtype of every array of the global batch that the data makes, known without reading any; of the
        largest batch if there are several shapes.
      work: what the speed counts, and how much of it such a batch holds: ("tokens", batch * length).
      heldout_rows: as `rows`, of a batch of held-out data; None if it has the same arrays.
      smaller: other shapes that a batch of training may have, such as those of shorter rows. All have the same number
        of examples. The step is compiled for each of them when its first batch arrives.
      method: what is trained in this stretch, such as the same without dropout; its parameters, extras and metrics have
        the names and shapes of those of the experiment's method. None for that one. Evaluations are always its.
    """

    steps: int
    rows: Mapping[str, jax.ShapeDtypeStruct]
    work: tuple[str, int]
    heldout_rows: Mapping[str, jax.ShapeDtypeStruct] | None = None
    smaller: tuple[Shape, ...] = ()
    method: Method | None = None

    @property
    def batch_size(self) -> int:
        """Examples per step, over all devices and hosts."""
        return next(iter(self.rows.values())).shape[0]

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """All shapes of its batches, the largest first."""
        return (Shape(self.rows, self.work[1]), *self.smaller)

    @property
    def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """Shape and dtype of every array that a method receives of the largest batch: `rows` and `example_weight`."""
        return self.batch_of(self.rows)

    def batch_of(self, rows: Mapping[str, jax.ShapeDtypeStruct]) -> dict[str, jax.ShapeDtypeStruct]:
        """As `batch`, of other rows."""
        return {**rows, "example_weight": example_shape(self.batch_size)}

    @property
    def heldout_batch(self) -> dict[str, jax.ShapeDtypeStruct]:
        """As `batch`, of held-out data."""
        return {**self.batch, **(self.heldout_rows or {})}


class Score(NamedTuple):
    """Metrics of a whole held-out set that are not means of its examples, such as a correlation or the F1 of entities.

    They are computed at every evaluation and logged in the line of the split. A metric that is not finite has no value
    there and is left out.

    Attributes:
      predict: `(params, extras, batch) -> tree` of arrays `[batch, ...]`.
      metrics: `(data, split, predictions) -> metrics`: of the opened data, the name of the held-out set, and the tree
        of `predict` as NumPy arrays `[examples, ...]`, in the order of the set. Every process calls it.
    """

    predict: MapFunction
    metrics: Callable[["Data", str, Tree], Mapping[str, float]]


class Predictor(NamedTuple):
    """How a fine-tuned model is applied to new inputs, for `ssl_jax.predict`.

    Attributes:
      prepare: `(inputs, encoder) -> (data set, describe)`: examples of the arrays that `function` takes, and
        `describe(results)`, which makes a dictionary for each input, ready for JSON.
      function: `(params, extras, batch) -> tree` of arrays `[batch, ...]`.
      encoder: `run folder -> encoder`, what the run folder keeps to encode inputs or to name results: the run's
        tokenizer, the map of symbols, the names of classes.
      reads: what the inputs are: texts, which a tokenizer encodes; sequences of symbols, which a map encodes; or
        images, as paths or arrays.
    """

    prepare: Callable[[Sequence[Any], Any], tuple[grain.MapDataset, Callable[[Tree], list[dict[str, Any]]]]]
    function: MapFunction
    encoder: Callable[[epath.Path], Any] = lambda folder: find_tokenizer(folder).open()
    reads: Literal["text", "symbols", "images"] = "text"


class Inference(NamedTuple):
    """What else a trained model computes of new examples, for `ssl_jax.load`; None for what it does not.

    Attributes:
      data: `ImageConfig` or `SpeechConfig` of what it reads, where that is not `data` of the configuration.
      text: `(params, tokenizer, mesh) -> encoder` with `embed` of `ssl_jax.runs.text_features`, where texts are not
        represented by the transformer at `model` of the configuration with all parameters.
      reconstruct: `(params, extras, batch) -> [batch, height, width, channels]`, images in [0, 1].
      encode: `(params, extras, batch) -> [batch, ...]`, the code of each example.
      decode: `(params, extras, batch) -> images` of a batch with `code [batch, ...]`.
      score: `(params, extras, batch) -> {name: [batch, ...]}`, such as how anomalous or how likely each example is.
        That of an example depends on no other one of the batch, nor on its place there.
      thresholds: `run folder -> {name of a score: threshold}` that the report of the run has set; an example with a
        higher score is an anomaly.
    """

    data: Any = None
    text: Callable[[Tree, Any, Mesh], Any] | None = None
    reconstruct: MapFunction | None = None
    encode: MapFunction | None = None
    decode: MapFunction | None = None
    score: MapFunction | None = None
    thresholds: Callable[[epath.Path], Mapping[str, Any]] = lambda folder: {}


class Data(NamedTuple):
    """The opened data of a run.

    Attributes:
      train: per phase, an endless `grain.MapDataset` of single examples (dictionaries of NumPy arrays).
      heldout: per phase and by name, finite ones for evaluation.
      identity: what must not change between a run and its continuation, such as the hash of a corpus.
      details: whatever the experiment's report needs.
      labelled: finite ones with a `label`, for probes of the representation: `train` to fit them, `heldout` to score.
      preprocessing: what decides the meaning of token ids or pixel values, by name, such as the hash of a tokenizer or
        the number of channels. A run on other data can start from the weights if these are equal.
    """

    train: tuple[grain.MapDataset, ...]
    heldout: tuple[Mapping[str, grain.MapDataset], ...]
    identity: Mapping[str, str]
    details: Any = None
    labelled: Mapping[str, grain.MapDataset] = {}
    preprocessing: Mapping[str, str] = {}


class Start(NamedTuple):
    """Arrays that a new run takes from somewhere else, in place of its own initialisation.

    Attributes:
      source: where they come from, for the first line of the log.
      load: `(variables, run folder, mesh, log) -> variables`: the initial `{"params": ..., **extras}` with the arrays
        replaced, each of the shape, dtype and sharding that it had. Every process calls it where a run begins; later
        the arrays come from the run's own checkpoints. `log` prints a line.
      check: `(variables)`: raises UserError if the arrays do not fit the model, before anything is written. Every
        process calls it for a new run, with shapes in place of arrays.
      replaceable: whether `--init_from` takes the place of this source, as it does of a pretrained encoder.
    """

    source: str
    load: Callable[[Mapping[str, Tree], epath.Path, Mesh, Callable[[str], None]], Mapping[str, Tree]]
    check: Callable[[Mapping[str, Tree]], None] = lambda variables: None
    replaceable: bool = False


class Fork(NamedTuple):
    """The checkpoint whose whole state a new run begins with: the model, the optimizer and the number of steps.

    Attributes:
      source: RUN@STEP, for messages.
      checkpoints: folder that holds it.
      step: its step, where the new run begins.
    """

    source: str
    checkpoints: epath.Path
    step: int


@dataclass(frozen=True)
class Report:
    """What an experiment's report, and its samples along the way, have to show results with.

    Every process makes the report, since arrays may be spread over the devices of all of them; one writes the files.

    Attributes:
      folder: the run folder, where plots and samples go.
      writes: whether this process is the one that writes files.
      log: prints a line.
      step: number of finished steps of the model.
      variables: of the model, `{"params": ..., **extras}`.
      data: of the run.
      heldout: the held-out data sets of the current phase, by split.
      metrics: of the evaluation on these at that step, by split.
      mesh: of the devices.
      batch_size: examples that `map` computes at once.
      initial_variables: `() -> variables` that the run would begin with from scratch, for a random-init baseline.
      baselines: by metric, values of baselines by name. The report fills it in, and the curves of the run show them.
    """

    folder: epath.Path
    writes: bool
    log: Callable[[str], None]
    step: int
    variables: Mapping[str, Tree]
    data: Data
    heldout: Mapping[str, grain.MapDataset]
    metrics: Mapping[str, Mapping[str, float]]
    mesh: Mesh
    batch_size: int
    initial_variables: Callable[[], Mapping[str, Tree]]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)

    def map(
        self,
        function: MapFunction,
        dataset: grain.MapDataset,
        variables: Mapping[str, Tree] | None = None,
    ) -> Tree:
        """The results of a function for every example of a data set, in order; every process gets all of them.

        Args:
          function: `(params, extras, batch) -> tree` of arrays `[batch, ...]`. It is compiled once: pass the same
            function object for several data sets.
          dataset: a finite one.
          variables: that the function receives, `{"params": ..., **extras}`; None for those of the model.

        Returns:
          The tree of the function, of NumPy arrays `[examples, ...]` with the dtypes that the function gives them.
        """
        variables = self.variables if variables is None else variables
        return map_examples(function, variables, dataset, mesh=self.mesh, batch_size=self.batch_size)

    def compute(self, function: Callable[..., Tree], *arguments: Tree) -> Tree:
        """The result of a function of arrays, such as parameters, in NumPy; compiled, and the same in every process."""
        return jax.device_get(jax.jit(function, out_shardings=replicated(self.mesh))(*arguments))


class Experiment(NamedTuple):
    """An experiment, ready to run. Building one reads no data and allocates nothing.

    Attributes:
      method: what is trained.
      optimizer: its update rule, the learning rate included.
      train: batch size, seed and intervals.
      mesh: how the devices are used.
      phases: one, or several with batches of different shapes.
      open_data: `(run folder) -> Data`; the place where files are read and tokenizers are trained.
      derive: `(metrics) -> more metrics`, of the means of an evaluation, such as a perplexity, which is not a mean.
      score: metrics of whole held-out sets, beside the means.
      represent: `(params, extras, batch) -> [batch, width]`, the representation of examples by a frozen model, for
        probes.
      raw: name and function of the input itself as a representation, to compare with; None for the pixels of images.
      rules: where the parameters are on the mesh.
      schedules: functions of the step to log, such as {"learning_rate": schedule}.
      notes: lines for the log where the run starts or goes on, such as of a setting that does not fit the others.
      headline: names of the metrics that the progress bar and the plots show.
      sample: called after each evaluation, to write what the model generates by then into the run folder. Its files are
        a function of the report, so that a step that is done again after a restart writes the same ones.
      report: called once at the end of a run, to print and draw what only this experiment can.
      predictor: how the model is applied to new text or images, for `ssl_jax.predict`.
      decoder: how the model writes text (`ssl_jax.decoding.decoder.Decoder`), for `ssl_jax.generate`.
      inference: what else the model computes of new examples, for `ssl_jax.load`.
      converter: how the model converts voices (`ssl_jax.methods.voices.Voices`), for `ssl_jax.convert`.
      import_weights: `(folder) -> params` from another library's files, for `--init_from`.
      adopt: `params -> params` of the run that `--init_from` names, under the paths of this model; of shapes, too.
      export: `(folder, variables, tokenizer)`: writes the model as another library's files, for `ssl_jax.export`, with
        its tokenizer if it reads text. The variables `{"params": ..., **extras}` are NumPy arrays.
      not_exported: where there is no `export`: a sentence that says why, and what there is instead; may be empty.
      starts: where a new run takes arrays from, one source after the other; empty: all are initialised.
      fork: the checkpoint that a new run begins with instead; None for none.
    """

    method: Method
    optimizer: optax.GradientTransformation
    train: TrainConfig
    mesh: MeshConfig
    phases: tuple[Phase, ...]
    open_data: Callable[[epath.Path], Data]
    derive: Callable[[Mapping[str, float]], Mapping[str, float]] = lambda metrics: {}
    score: Score | None = None
    represent: Represent | None = None
    raw: tuple[str, Represent] | None = None
    rules: Rules = ()
    schedules: Mapping[str, Callable[[int], jax.Array]] = {}
    notes: tuple[str, ...] = ()
    headline: tuple[str, ...] = ("loss",)
    sample: Callable[[Report], None] | None = None
    report: Callable[[Report], None] | None = None
    predictor: Predictor | None = None
    decoder: Any = None
    inference: Inference = Inference()
    converter: Any = None
    import_weights: Callable[[epath.Path], Tree] | None = None
    adopt: Callable[[Tree], Tree] = lambda params: params
    export: Callable[[epath.Path, Tree, Any], None] | None = None
    not_exported: str = ""
    starts: tuple[Start, ...] = ()
    fork: Fork | None = None

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
