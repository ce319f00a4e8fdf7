"""Fine-tuning of BERT: what its experiments share, from the pretrained encoder to the phases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import grain
from etils import epath

from ssl_jax.data.buckets import BucketedBatches, lengths_up_to, padded_length
from ssl_jax.data.fine_tuning_rows import batch_shapes
from ssl_jax.data.pretraining_text import open_pretraining_tokenizer
from ssl_jax.data.ragged import Rows
from ssl_jax.data.shifted_language import ShiftedTokenizer
from ssl_jax.data.tokenizer_files import TRAINED, TokenizerConfig, find_tokenizer, open_run_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import Dtype, Fraction, Length, NonNegativeInt, PositiveInt, Settings
from ssl_jax.errors import UserError
from ssl_jax.hub.bert import load_bert, save_bert
from ssl_jax.hub.tokenizer_files import save_tokenizer
from ssl_jax.method import Tree
from ssl_jax.methods.fine_tuning import FineTuning, Task, fine_tuning
from ssl_jax.methods.partition import TRANSFORMER
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.transformer import Remat
from ssl_jax.recipes.base import RunConfig, make_experiment
from ssl_jax.recipes.random_layers import random_top
from ssl_jax.runs.prerequisites import PlannedRun, Prerequisite
from ssl_jax.training.experiment import (
    Data,
    Experiment,
    Phase,
    Predictor,
    Report,
    Score,
    Shape,
    Start,
    TrainConfig,
)
from ssl_jax.training.optimizers import OptimizerConfig, ParameterGroup
from ssl_jax.training.schedules import ScheduleConfig

BERT_RUN = "experiments.bert"
"""What is trained first if no encoder is named."""


@dataclass(frozen=True)
class EncoderConfig(Settings):
    """How the pretrained encoder is used. Its sizes come from where its weights do."""

    dropout: Fraction = 0.1
    """Dropout rate of the embeddings and of the output of each block."""
    attention_dropout: Fraction = 0.1
    """Dropout rate of the attention weights."""
    head_dropout: Fraction = 0.1
    """Dropout rate of the input of the new layer."""
    reinitialised_layers: NonNegativeInt = 0
    """Top layers that start at random, together with the pooler (Zhang et al. 2020, arXiv:2006.05987)."""
    dtype: Dtype = "float32"
    """Dtype of the computation, float32 or bfloat16; parameters are float32."""
    remat: Remat = "none"
    """What the backward pass recomputes to save memory: none, dots (all but the outputs of dense layers) or full."""

    def applied(self, model: BertConfig) -> BertConfig:
        """An encoder of these sizes with these settings."""
        own = {name: getattr(self, name) for name in ("dropout", "attention_dropout", "dtype", "remat")}
        return replace(model, **own)


@dataclass(frozen=True)
class FineTuningConfig(RunConfig):
    """Fine-tuning of a pretrained BERT. The configuration of an experiment adds `bert` and `data`."""

    encoder_of: ClassVar[str] = "bert"
    """The field with the pretraining whose encoder is taken, unless `--init_from` names another source."""
    steps: PositiveInt = 1000
    """Optimiser steps of the whole run; the log says how many epochs these are."""
    length: Length = 128
    """Tokens per row, at most; longer texts are cut off. Rows of a batch are as long as the longest needs: 32, 64, 128,
    256 or 384 tokens, or this length."""
    from_scratch: bool = False
    """Initialise the encoder at random, with the sizes and the tokenizer of the pretrained one, for comparison."""
    frozen_encoder: bool = False
    """Train the head and the pooler alone."""
    shift: NonNegativeInt = 0
    """Added to the ids of all pieces: the text is then of a shifted language of experiments.multilingual_bert."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(name="adamw", weight_decay=0.01)
    )
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(learning_rate=3e-5, warmup_steps=100)
    )
    train: TrainConfig = field(default_factory=TrainConfig)

    def check_relations(self) -> None:
        super().check_relations()
        unfit = "from_scratch" if self.from_scratch else "frozen_encoder" if self.frozen_encoder else ""
        if self.encoder.reinitialised_layers and unfit:
            raise UserError(
                f"encoder.reinitialised_layers {self.encoder.reinitialised_layers}: with {unfit}, "
                f"{'all layers start at random' if self.from_scratch else 'these layers would stay random'}. Leave out "
                "one of the two."
            )


def fine_tuning_experiment(
    config: Any,
    task: Task,
    *,
    labels: Sequence[str] = (),
    open_data: Callable[[epath.Path], Data],
    score: Callable[[FineTuning], Score],
    headline: tuple[str, ...],
    report: Callable[[Report, FineTuning], None],
    predictor: Callable[[FineTuning], Predictor],
) -> Experiment:
    """An encoder with a head, trained on rows of a few lengths.

    Args:
      config: a `FineTuningConfig` with the fields `bert`, a configuration of experiments.bert, and `data`, a
        `TokenizerConfig`.
      task: what is predicted.
      labels: names of the classes or of the tags.
      open_data: `(run folder) -> Data`.
      score: of the method: the metrics of whole held-out sets.
      headline: names of the metrics that are shown.
      report: `(report, method)`, at the end of the run.
      predictor: of the method: how it is applied to new text.

    Raises:
      UserError: the rows are longer than the positions of the encoder, or it has fewer layers than are initialised.
    """
    model = config.encoder.applied(config.bert.model)
    if config.length > model.positions:
        raise UserError(
            f"length {config.length}: the encoder has {model.positions} positions; give --length {model.positions} or "
            "less, or an encoder with more positions."
        )
    tuned = fine_tuning(model, task, max(1, len(labels)), config.encoder.head_dropout)
    *shorter, longest = (
        Shape(batch_shapes(config.train.batch_size, length, task), config.train.batch_size * length)
        for length in lengths_up_to(config.length)
    )

    def export(folder: epath.Path, variables: Tree, tokenizer: Tokenizer) -> None:
        if config.shift:
            raise UserError(
                f"{folder}: the ids of this model's text are shifted by {config.shift}, which no tokenizer of "
                "transformers does; export a run with --shift 0."
            )
        has = {"labels": labels, "scores": task == "score", "head_dropout": config.encoder.head_dropout}
        save_bert(folder, model, variables["params"], **has)
        save_tokenizer(folder, tokenizer, model.positions)

    starts = [] if config.from_scratch else [_pretraining(config)]
    if layers := config.encoder.reinitialised_layers:
        starts.append(random_top(tuned.method, model, longest.rows, config.train.seed, layers))
    return make_experiment(
        _frozen(config) if config.frozen_encoder else config,
        tuned.method,
        phases=(Phase(config.steps, longest.rows, ("tokens", longest.work), smaller=tuple(shorter)),),
        open_data=open_data,
        score=score(tuned),
        rules=TRANSFORMER,
        headline=headline,
        report=lambda shown: report(shown, tuned),
        predictor=_with_shift(predictor(tuned), config.shift),
        import_weights=lambda path: load_bert(path)[1],
        export=export,
        starts=tuple(starts),
    )


def _with_shift(predictor: Predictor, shift: int) -> Predictor:
    """The predictor of text in a shifted language."""
    if not shift:
        return predictor
    return predictor._replace(encoder=lambda folder: _of_language(find_tokenizer(folder).open(), shift))


def _frozen(config: Any) -> Any:
    """The configuration with a group of parameters that do not move."""
    group = ParameterGroup("encoder", "^encoder/(?!pooler/)", frozen=True)
    return replace(config, optimizer=replace(config.optimizer, groups=(group, *config.optimizer.groups)))


def training_rows(config: Any, rows: Rows) -> grain.MapDataset:
    """The rows of all steps of a run, those of a batch of similar length and padded to the same one."""
    batch_size = config.train.batch_size
    batches = BucketedBatches(rows, lengths_up_to(config.length), batch_size, config.train.seed)
    return grain.MapDataset.range(config.steps * batch_size).map(batches)


def rows_in_order(rows: Rows) -> grain.MapDataset:
    """All rows in their order, padded to the usual length that the longest needs, so that results have one shape."""
    padded = rows.resized(padded_length(rows.lengths, lengths_up_to(rows.length)))
    return grain.MapDataset.range(len(padded)).map(padded)


def open_tokenizer(config: Any, folder: epath.Path) -> Tokenizer:
    """The tokenizer of the encoder, saved in the run folder; that of a shifted language if the configuration has one.

    Args:
      config: as in `fine_tuning_experiment`.
      folder: of the run.

    Raises:
      UserError: it cannot be read, or has more pieces than the encoder.
    """
    asked: TokenizerConfig = config.data
    vocab_size = config.bert.model.vocab_size
    if asked.tokenizer in TRAINED:  # as the pretraining does, whose result is the same
        tokenizer = open_pretraining_tokenizer(config.bert.data, vocab_size, folder)
    else:
        tokenizer = open_run_tokenizer(asked, folder, _never)
    if config.shift + tokenizer.vocab_size > vocab_size:
        shift = f" and a shift of {config.shift}" if config.shift else ""
        raise UserError(
            f"data.tokenizer {asked.tokenizer}: has {tokenizer.vocab_size} pieces{shift}, but the encoder has "
            f"{vocab_size}; give the tokenizer that it was pretrained with."
        )
    return _of_language(tokenizer, config.shift)


def _never() -> Tokenizer:
    raise AssertionError("a named tokenizer is not trained")


def _of_language(tokenizer: Tokenizer, shift: int) -> Tokenizer:
    return ShiftedTokenizer(tokenizer, shift) if shift else tokenizer


def _pretraining(config: Any) -> Start:
    """The run that is trained first, in bert/ of the run folder."""

    def check() -> None:
        asked = config.data.tokenizer
        if asked not in ("train", config.bert.data.tokenizer):
            raise UserError(
                f"data.tokenizer {asked}: the BERT that is trained first has another one, bert.data.tokenizer "
                f"{config.bert.data.tokenizer}. Give --bert.data.tokenizer {asked}, or --init_from for another encoder."
            )

    return Prerequisite("bert", PlannedRun(BERT_RUN, "tiny", config.bert)).encoder(check)
