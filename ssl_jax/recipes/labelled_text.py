"""Fine-tuning on labelled sentences and pairs: where they are from, their rows, and the metrics of held-out sets."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.fine_tuning_rows import sentence_rows
from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.labelled_text import LabelledText, fingerprint, label_set, scores, split_by_hash, texts
from ssl_jax.data.ragged import Rows
from ssl_jax.data.tokenizer_files import TokenizerConfig, preprocessing
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, NonNegativeInt, ProperShare, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.classification import class_metrics, correlations, label_probabilities
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.fine_tuning import open_tokenizer, rows_in_order, training_rows
from ssl_jax.reports.classification import Labelled, report_classification
from ssl_jax.reports.scores import report_scores
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data, Predictor, Report, Score

OFFLINE = "pydocs"
HELDOUT = "heldout"
CHOICE_SEED = 0
"""The same examples for all seeds of a run, so that runs can be compared."""


@dataclass(frozen=True)
class LabelledTextConfig(TokenizerConfig):
    """Labelled sentences. `tokenizer` is that of the encoder unless it is given."""

    source: NonEmptyText = OFFLINE
    """pydocs (sentences of the installed documentation and the sections that they are from); a .tsv file; a .jsonl
    file, one object a line; or tfds:name/config:split."""
    heldout_source: Text = ""
    """Another source to evaluate on, such as a validation split; empty: a share of the documents is held out."""
    heldout_share: ProperShare = 0.1
    """Share of the documents to hold out if heldout_source is empty; pydocs holds out those of pretraining."""
    examples: NonNegativeInt = 0
    """Training examples, at most: always the same choice; 0 for all."""
    text: NonEmptyText = "text"
    """Column of the sentence. Numbers from 1 instead of names are for a .tsv file without a header line."""
    label: NonEmptyText = "label"
    """Column of the label."""
    document: Text = ""
    """Column of what belongs together, such as the name of an article: it is held out as a whole. Empty for none."""


@dataclass(frozen=True)
class PairConfig(LabelledTextConfig):
    """Labelled pairs of sentences."""

    source: NonEmptyText = OFFLINE
    """pydocs (described parameters of the installed documentation and statements about them); a .tsv file; a .jsonl
    file, one object a line; or tfds:name/config:split."""
    second: NonEmptyText = "second"
    """Column of the second sentence."""


Describe = Callable[[Any], list[dict[str, Any]]]
"""`results -> a dictionary for each text`."""
Offline = Callable[[], tuple[list[LabelledText], list[LabelledText]]]
"""The (training, held-out) examples of the source "pydocs"."""


MakeRows = Callable[[Labelled], tuple[Rows, int]]
"""`examples -> (rows, how many of them are cut off)`."""


class LabelledData(NamedTuple):
    """What is opened of labelled text.

    Attributes:
      train: the examples and their labels.
      splits: likewise of each held-out set, by name.
      tokenizer: of the encoder.
    """

    train: Labelled
    splits: Mapping[str, Labelled]
    tokenizer: Tokenizer

    @property
    def heldout(self) -> Labelled:
        """The held-out set of data that has one."""
        return self.splits[HELDOUT]


def open_labelled_text(config: Any, folder: epath.Path, offline: Offline, *, scored: bool = False) -> Data:
    """Opens sentences or pairs, and logs how many there are of each label.

    Args:
      config: a `FineTuningConfig` with `data: LabelledTextConfig` and, of classes, `labels`, their names.
      folder: run folder, for the tokenizer.
      offline: what "pydocs" stands for.
      scored: whether labels are numbers.

    Raises:
      UserError: a source cannot be read, has no label, a label that `labels` lacks, or a single one.
    """
    data: LabelledTextConfig = config.data
    training, heldout = _examples(data, offline, scored=scored)
    if not scored:
        check_names(training, data.source, config.labels)
    labels = () if scored else config.labels
    return labelled_data(config, folder, training, {HELDOUT: heldout}, labels)


def labelled_data(
    config: Any,
    folder: epath.Path,
    training: Sequence[LabelledText],
    heldout: Mapping[str, Sequence[LabelledText]],
    labels: Sequence[str],
    encoding: Callable[[Labelled, Tokenizer], MakeRows] | None = None,
) -> Data:
    """The rows of labelled text, with `LabelledData` as details. Logs how many examples there are of each label.

    Args:
      config: a `FineTuningConfig` whose `data` has a `source` and `examples`, the most training examples (0 for all).
      folder: run folder, for the tokenizer.
      training: the training examples.
      heldout: the held-out sets by name.
      labels: names of the classes, in the order that numbers them; none of scores.
      encoding: `(training examples, tokenizer) -> MakeRows`; None for the pieces of the text.

    Raises:
      UserError: an example has no label or one that is not among `labels`, or all training examples have the same one.
    """
    source, most = config.data.source, config.data.examples
    if 0 < most < len(training):
        chosen = np.random.default_rng(CHOICE_SEED).permutation(len(training))[:most]
        training = [training[i] for i in np.sort(chosen)]
    names = label_set(training, source, labels) if labels else None
    number = names.ids if names else scores
    train = Labelled(training, number(training))
    targets = str(names) if names else f"scores from {train.labels.min():g} to {train.labels.max():g}"
    splits = {name: Labelled(examples, number(examples)) for name, examples in heldout.items()}
    tokenizer = open_tokenizer(config, folder)  # after all mistakes in the data have been found

    rows_of = (encoding or _pieces(config.length))(train, tokenizer)
    rows, cut = rows_of(train)
    heldout_rows = {name: rows_of(part)[0] for name, part in splits.items()}
    epochs = config.steps * config.train.batch_size / len(rows)
    longer = f"; {cut:,} are cut to {config.length} tokens" if cut else ""
    counts = " and ".join(f"{len(of):,} {_words(name)}" for name, of in heldout_rows.items())
    announce(
        f"{source}: {len(rows):,} training and {counts} examples, {targets}; "
        f"{config.steps:,} steps are {epochs:.1f} epochs{longer}"
    )
    return Data(
        train=(training_rows(config, rows),),
        heldout=({name: rows_in_order(of) for name, of in heldout_rows.items()},),
        identity={
            "tokenizer": tokenizer.fingerprint,
            "examples": fingerprint(training),
            **{f"{name}_examples": fingerprint(examples) for name, examples in heldout.items()},
        },
        details=LabelledData(train, splits, tokenizer),
        preprocessing=preprocessing(tokenizer),
    )


def _pieces(length: int) -> Callable[[Labelled, Tokenizer], MakeRows]:
    """The rows of the pieces of texts."""

    def encoding(train: Labelled, tokenizer: Tokenizer) -> MakeRows:
        def rows_of(part: Labelled) -> tuple[Rows, int]:
            made, cut = sentence_rows(*texts(part.examples), part.labels, tokenizer, length)
            _check_pieces(part.examples, made)
            return made, cut

        return rows_of

    return encoding


def class_score(tuned: FineTuning, labels: Sequence[str]) -> Score:
    """The metrics of a classifier on a whole held-out set, beside its `class_accuracy`."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        known: LabelledData = data.details
        found = class_metrics(known.splits[split].labels, predictions["logits"].argmax(-1), len(labels))
        found.pop("accuracy")
        return found

    return Score(tuned.predict, metrics)


def score_metrics(tuned: FineTuning) -> Score:
    """The correlations of scores on a whole held-out set."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        known: LabelledData = data.details
        return correlations(known.splits[split].labels, predictions["score"])

    return Score(tuned.predict, metrics)


def predictor(tuned: FineTuning, labels: Sequence[str], length: int, *, pairs: bool = False) -> Predictor:
    """What is predicted of each text: its label and the probabilities of all labels, or its score.

    Args:
      tuned: the method.
      labels: names of the classes; none of scores.
      length: tokens per row; longer texts are cut off.
      pairs: whether a text is two sentences with a tab between.
    """

    def prepare(lines: Sequence[str], tokenizer: Tokenizer) -> tuple[grain.MapDataset, Describe]:
        firsts, seconds = list(lines), None
        if pairs:
            for number, line in enumerate(lines, 1):
                if line.count("\t") != 1:
                    raise UserError(
                        f"text {number}, {line!r:.80}: expected two sentences with a tab between."
                    )
            firsts, seconds = (list(part) for part in zip(*(line.split("\t") for line in lines), strict=True))
        unknown = np.full(len(lines), -1, np.int32) if labels else np.full(len(lines), np.nan, np.float32)
        made, _ = sentence_rows(firsts, seconds, unknown, tokenizer, length)
        return rows_in_order(made), functools.partial(describe, lines)

    def describe(lines: Sequence[str], results: Any) -> list[dict[str, Any]]:
        if not labels:
            return [
                {"text": text, "score": float(score)}
                for text, score in zip(lines, results["score"], strict=True)
            ]
        return describe_classes(labels, lines, results)

    return Predictor(prepare, tuned.predict)


def describe_classes(labels: Sequence[str], lines: Sequence[str], results: Any) -> list[dict[str, Any]]:
    """What a classifier predicts of each text, as a dictionary.

    Args:
      labels: names of the classes.
      lines: the texts.
      results: of `FineTuning.predict`, for these.
    """
    found = label_probabilities(labels, results["logits"])
    return [{"text": text, **one} for text, one in zip(lines, found, strict=True)]


def report_scored(report: Report, tuned: FineTuning) -> None:
    """The report of scores; see `report_scores`."""
    known: LabelledData = report.data.details
    report_scores(report, tuned.predict, known.train, known.heldout)


def report_classes(report: Report, tuned: FineTuning, labels: Sequence[str]) -> None:
    """The report of a classifier; see `report_classification`."""
    known: LabelledData = report.data.details
    report_classification(report, tuned.predict, labels, known.train, known.heldout)


def _words(split: str) -> str:
    """The name of a held-out set, to be read."""
    return "held-out" if split == HELDOUT else split.replace("_", " ")


def _examples(
    data: LabelledTextConfig, offline: Offline, *, scored: bool
) -> tuple[list[LabelledText], list[LabelledText]]:
    """(training, held-out)."""
    if data.source == OFFLINE:
        if scored:
            raise UserError(f"data.source {OFFLINE}: has classes, not scores; name a source with scores.")
        return offline()
    return read_examples(data, scored=scored)


def read_examples(
    data: LabelledTextConfig, *, scored: bool = False
) -> tuple[list[LabelledText], list[LabelledText]]:
    """The (training, held-out) examples of the sources that are named.

    Raises:
      UserError: a source cannot be read or has no label.
    """
    second = data.second if isinstance(data, PairConfig) else ""
    columns = Columns(data.text, second, data.label, data.document)
    training = read_labelled_text(data.source, columns, scored=scored)
    if not data.heldout_source:
        return split_by_hash(training, data.heldout_share)
    return training, read_labelled_text(data.heldout_source, columns, scored=scored)


def _check_pieces(examples: Sequence[LabelledText], rows: Rows) -> None:
    """Raises UserError if a row has special tokens alone: its text is empty, or the tokenizer leaves all of it out."""
    special = 2 if examples[0].second is None else 3
    for number in np.flatnonzero(rows.lengths == special)[:1]:
        example = examples[number]
        raise UserError(
            f"{example.place}: the tokenizer finds no word in {example.text!r:.80}"
            f"{'' if example.second is None else f' and {example.second!r:.80}'}. Leave this example out, or correct "
            "its text."
        )


def check_names(examples: Sequence[LabelledText], source: str, labels: Sequence[str]) -> None:
    """Raises UserError, with the option to give, if the data has labels that the classifier lacks."""
    counts = Counter(example.label for example in examples)
    if unknown := counts.keys() - {*labels}:
        raise UserError(
            f"data source {source!r}: {len(unknown)} of its {len(counts)} labels are not among labels "
            f"{' '.join(labels)}. Give --labels {' '.join(map(repr, sorted(counts)[:50]))}"
            f"{' ...' if len(counts) > 50 else ''}, whose order numbers the classes."
        )
