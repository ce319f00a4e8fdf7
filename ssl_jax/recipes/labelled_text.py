"""Fine-tuning on labelled sentences: where they are from, their rows, and the metrics of held-out sets."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.fine_tuning_rows import sentence_rows
from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.labelled_text import LabelledText, fingerprint, label_set, split_by_hash, texts
from ssl_jax.data.ragged import Rows
from ssl_jax.data.section_labels import section_sentences
from ssl_jax.data.tokenizer_files import TokenizerConfig, preprocessing
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, ProperShare, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.classification import class_metrics, probabilities
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.fine_tuning import open_tokenizer
from ssl_jax.reports.classification import Labelled, report_classification
from ssl_jax.training.experiment import Data, Predictor, Report, Score

OFFLINE = "pydocs"
HELDOUT = "heldout"


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
    text: NonEmptyText = "text"
    """Column of the sentence. Numbers from 1 instead of names are for a .tsv file without a header line."""
    label: NonEmptyText = "label"
    """Column of the label."""
    document: Text = ""
    """Column of what belongs together, such as the name of an article: it is held out as a whole. Empty for none."""


class LabelledData(NamedTuple):
    """What is opened of labelled text.

    Attributes:
      train, heldout: the examples and their labels.
      tokenizer: of the encoder.
    """

    train: Labelled
    heldout: Labelled
    tokenizer: Tokenizer


def open_labelled_text(config: Any, folder: epath.Path) -> Data:
    """Opens the sentences, and logs how many there are of each label.

    Args:
      config: a `FineTuningConfig` with `data: LabelledTextConfig` and `labels`, the names of the classes.
      folder: run folder, for the tokenizer.

    Raises:
      UserError: a source cannot be read, has no label, a label that `labels` lacks, or a single one.
    """
    data: LabelledTextConfig = config.data
    training, heldout = _examples(data)
    _check_names(training, data.source, config.labels)
    names = label_set(training, data.source, config.labels)
    parts = [Labelled(examples, names.ids(examples)) for examples in (training, heldout)]
    tokenizer = open_tokenizer(config, folder)
    opened = LabelledData(*parts, tokenizer)
    (rows, cut), (heldout_rows, _) = (
        sentence_rows(*texts(part.examples), part.labels, tokenizer, config.length) for part in parts
    )
    epochs = config.steps * config.train.batch_size / len(rows)
    longer = f"; {cut:,} are cut to {config.length} tokens" if cut else ""
    print(
        f"{data.source}: {len(rows):,} training and {len(heldout_rows):,} held-out examples, {names}; {config.steps:,} "
        f"steps are {epochs:.1f} epochs{longer}",
        flush=True,
    )
    return Data(
        train=(_dataset(rows).seed(config.train.seed).shuffle().repeat().map(rows),),
        heldout=({HELDOUT: _dataset(heldout_rows).map(heldout_rows)},),
        identity={
            "tokenizer": tokenizer.fingerprint,
            "examples": fingerprint(training),
            "heldout_examples": fingerprint(heldout),
        },
        details=opened,
        preprocessing=preprocessing(tokenizer),
    )


def class_score(tuned: FineTuning, labels: Sequence[str]) -> Score:
    """The metrics of a classifier on a whole held-out set, beside its `class_accuracy`."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        known: LabelledData = data.details
        found = class_metrics(known.heldout.labels, predictions["logits"].argmax(-1), len(labels))
        found.pop("accuracy")
        return found

    return Score(tuned.predict, metrics)


def class_predictor(tuned: FineTuning, labels: Sequence[str], length: int) -> Predictor:
    """The label of each text and the probabilities of all labels. Long texts are cut to `length` tokens."""

    def rows(lines: Sequence[str], tokenizer: Tokenizer) -> grain.MapDataset:
        made, _ = sentence_rows(lines, None, np.full(len(lines), -1, np.int32), tokenizer, length)
        return _dataset(made).map(made)

    def describe(lines: Sequence[str], results: Any) -> list[dict[str, Any]]:
        chances = probabilities(results["logits"])
        return [
            {
                "text": text,
                "label": labels[int(row.argmax())],
                "probability": float(row.max()),
                "probabilities": dict(zip(labels, map(float, row), strict=True)),
            }
            for text, row in zip(lines, chances, strict=True)
        ]

    return Predictor(rows, tuned.predict, describe)


def report_classes(report: Report, tuned: FineTuning, labels: Sequence[str]) -> None:
    """The report of a classifier; see `report_classification`."""
    known: LabelledData = report.data.details
    report_classification(report, tuned.predict, labels, known.train, known.heldout)


def _dataset(rows: Rows) -> grain.MapDataset:
    return grain.MapDataset.range(len(rows))


def _examples(data: LabelledTextConfig) -> tuple[list[LabelledText], list[LabelledText]]:
    """(training, held-out)."""
    if data.source == OFFLINE:
        return section_sentences()
    columns = Columns(data.text, "", data.label, data.document)
    training = read_labelled_text(data.source, columns)
    if not data.heldout_source:
        return split_by_hash(training, data.heldout_share)
    return training, read_labelled_text(data.heldout_source, columns)


def _check_names(examples: Sequence[LabelledText], source: str, labels: Sequence[str]) -> None:
    """Raises UserError, with the option to give, if the data has labels that the classifier lacks."""
    counts = Counter(example.label for example in examples)
    if unknown := counts.keys() - {*labels}:
        raise UserError(
            f"data source {source!r}: {len(unknown)} of its {len(counts)} labels are not among labels "
            f"{' '.join(labels)}. Give --labels {' '.join(map(repr, sorted(counts)[:50]))}"
            f"{' ...' if len(counts) > 50 else ''}, whose order numbers the classes."
        )
