"""Fine-tuning on sequences of symbols: where they are from, the pieces that stand for them, and what is reported."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grain
import numpy as np
from etils import epath

from ssl_jax.data.digit_sequences import digit_sequences
from ssl_jax.data.labelled_text import LabelledText, split_by_hash
from ssl_jax.data.ragged import Rows
from ssl_jax.data.symbols import SymbolMap, Unit, split_symbols
from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, ProperShare, Seed, Text
from ssl_jax.evals.sequence_baselines import Baseline, Sequences, sequence_baselines
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.fine_tuning import rows_in_order
from ssl_jax.recipes.labelled_text import (
    HELDOUT,
    Describe,
    LabelledData,
    LabelledTextConfig,
    MakeRows,
    check_names,
    describe_classes,
    labelled_data,
    read_examples,
)
from ssl_jax.reports.classification import Labelled, report_classification
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data, Predictor, Report

DIGITS = "digits"
VALIDATION = "validation"
VALIDATION_SEED = 1
"""Of the hash that divides the training examples; held-out examples are chosen by another one."""


@dataclass(frozen=True)
class SymbolsConfig(LabelledTextConfig):
    """Labelled sequences. `tokenizer` is that of the encoder unless it is given; its pieces stand for the symbols."""

    source: NonEmptyText = DIGITS
    """digits (the grey levels of the embedded digits, row by row); a .tsv file; a .jsonl file, one object a line; or
    tfds:name/config:split."""
    heldout_source: Text = ""
    """Another source to test on; empty: a share of the sequences is held out. digits has held-out images."""
    text: NonEmptyText = "sequence"
    """Column of the sequence. Numbers from 1 instead of names are for a .tsv file without a header line."""
    unit: Unit = "character"
    """What a symbol is: each character, a space too, or each word between spaces."""
    map: Seed = 0
    """Seed of the random map from symbols to pieces."""
    validation_share: ProperShare = 0.1
    """Share of the training sequences that settings are chosen on; they are never trained on."""
    cut: bool = False
    """Leave out the end of sequences that are longer than a row."""


def open_symbols(config: Any, folder: epath.Path) -> Data:
    """Opens sequences, draws the map of their symbols, and saves it in the run folder.

    Args:
      config: a `FineTuningConfig` with `data: SymbolsConfig` and `labels`, the names of the classes.
      folder: of the run.

    Raises:
      UserError: a source cannot be read, has no label, a label that `labels` lacks, or a single one; a sequence is
        empty or too long; there are more symbols than pieces.
    """
    data: SymbolsConfig = config.data
    training, heldout = digit_sequences() if data.source == DIGITS else read_examples(data)
    check_names(training, data.source, config.labels)
    training, validation = split_by_hash(training, data.validation_share, VALIDATION_SEED)

    def encoding(train: Labelled, tokenizer: Tokenizer) -> MakeRows:
        symbols = SymbolMap.drawn(train.texts, data.unit, tokenizer, data.map)

        def rows_of(part: Labelled) -> tuple[Rows, int]:
            made = symbols.rows(part.examples, part.labels, config.length, cut=data.cut)
            _announce_unseen(symbols.unseen(part.texts))
            return made

        symbols.save(folder)
        announce(
            f"{len(symbols.ids)} symbols, each with a random piece (map {data.map}): {_shown(symbols, tokenizer)}"
        )
        return rows_of

    heldout = {VALIDATION: validation, HELDOUT: heldout}
    return labelled_data(config, folder, training, heldout, config.labels, encoding)


def _announce_unseen(unseen: Mapping[str, int]) -> None:
    """Logs the symbols that are the unknown token."""
    if unseen:
        listed = ", ".join(f"{symbol!r} {count:,}" for symbol, count in sorted(unseen.items())[:10])
        announce(
            f"{sum(unseen.values()):,} symbols do not occur in the training data and are the unknown token: {listed}"
            f"{', ...' if len(unseen) > 10 else ''}"
        )


def _shown(symbols: SymbolMap, tokenizer: Tokenizer) -> str:
    """The first symbols with their pieces."""
    first = dict(list(symbols.ids.items())[:8])
    pieces = tokenizer.pieces([*first.values()])
    listed = ", ".join(f"{symbol!r} {piece!r}" for symbol, piece in zip(first, pieces, strict=True))
    return listed + (", ..." if len(symbols.ids) > len(first) else "")


def symbols_predictor(tuned: FineTuning, labels: Sequence[str], config: Any) -> Predictor:
    """What is predicted of each sequence: its label, and the probabilities of all labels.

    Args:
      tuned: the method.
      labels: names of the classes.
      config: as in `open_symbols`.
    """

    def encoder(folder: epath.Path) -> SymbolMap:
        return SymbolMap.read(folder, find_tokenizer(folder).open())

    def prepare(lines: Sequence[str], symbols: SymbolMap) -> tuple[grain.MapDataset, Describe]:
        examples = [LabelledText(line, place=f"text {number}") for number, line in enumerate(lines, 1)]
        unknown = np.full(len(lines), -1, np.int32)
        rows, _ = symbols.rows(examples, unknown, config.length, cut=config.data.cut)
        return rows_in_order(rows), functools.partial(describe_classes, labels, lines)

    return Predictor(prepare, tuned.predict, encoder, reads="symbols")


def report_symbols(report: Report, tuned: FineTuning, config: Any) -> None:
    """The report of a classifier of sequences beside baselines on symbols; see `report_classification`."""
    known: LabelledData = report.data.details

    def baselines(train: Labelled, heldout: Labelled) -> dict[str, np.ndarray]:
        return {
            f"{name} ({found.setting})" if found.setting else name: found.predictions
            for name, found in baselines_of(known, config).items()
        }

    report_classification(report, tuned.predict, config.labels, known.train, known.heldout, baselines)


def baselines_of(data: LabelledData, config: Any) -> Mapping[str, Baseline]:
    """The predictions of classifiers without a network for the held-out set. They see what the network sees.

    Args:
      data: of the run.
      config: of the run.
    """
    room = config.length - 2

    def sequences(part: Labelled) -> Sequences:
        return Sequences([split_symbols(text, config.data.unit)[:room] for text in part.texts], part.labels)

    return sequence_baselines(*map(sequences, (data.train, data.splits[VALIDATION], data.heldout)))
