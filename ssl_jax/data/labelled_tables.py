"""Labelled text from tables: .tsv and .jsonl files, and TFDS data sets, whose fields are columns."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssl_jax.data.json_lines import csv_advice
from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.lines import read_lines
from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.data.tsv import Tsv, is_tsv
from ssl_jax.data.vocabularies import parse_json
from ssl_jax.errors import UserError


class Columns(NamedTuple):
    """Which columns of a table have what. Numbers from 1 instead of names are for a .tsv file without a header line.

    Attributes:
      text: the sentence, or the first of two.
      second: the second sentence; "" for single sentences.
      label: the class or the score; "" if it is not known.
      document: the name of the document that an example is from; "" for none.
    """

    text: str = "text"
    second: str = ""
    label: str = "label"
    document: str = ""


class Row(NamedTuple):
    """A row of a table.

    Attributes:
      cells: by column: texts; in .jsonl also numbers, truth values, lists and None; from TFDS also floats and lists of
        texts, where classes are names and a class of -1 is None.
      place: the source and the number of the line or record, for messages.
    """

    cells: Mapping[str, Any]
    place: str


def read_labelled_text(spec: str, columns: Columns, scored: bool = False) -> list[LabelledText]:
    """Reads sentences, or pairs of sentences, with labels.

    Args:
      spec: a .tsv file, without quoting; a .jsonl file, one object a line; or `tfds:name/config:split`.
      columns: what to read.
      scored: whether labels are scores (numbers) rather than names of classes.

    Raises:
      UserError: the source or a column does not exist, it has no rows, a label is missing, or a score is not a finite
        number; the message names the file and the line.
    """
    examples = []
    for row in open_rows(spec, [name for name in columns if name]):
        label = row.cells[columns.label] if columns.label else None
        if columns.label and (label is None or label == ""):
            raise UserError(
                f"{row.place}: no label in the column {columns.label!r}. Add it, or leave this row out; the test "
                "splits of benchmarks often have none."
            )
        examples.append(
            LabelledText(
                text=_text(row, columns.text),
                second=_text(row, columns.second) if columns.second else None,
                label=None if scored or label is None else _name(row, columns.label),
                score=_score(row, columns.label) if scored and label is not None else None,
                document=_text(row, columns.document) if columns.document else "",
                place=row.place,
            )
        )
    return examples


def open_rows(spec: str, names: Sequence[str]) -> list[Row]:
    """The rows of a table.

    Args:
      spec: as in `read_labelled_text`.
      names: columns that it must have. If all are numbers, a .tsv file has no header line.

    Raises:
      UserError: the table cannot be read, has no rows, or lacks a column.
    """
    if spec.startswith("tfds:"):
        return _tfds_rows(spec, names)
    if spec.lower().endswith(".jsonl"):
        return _jsonl_rows(spec, names)
    if not is_tsv(spec):
        raise UserError(
            f"data source {spec!r}: expected a .tsv file, a .jsonl file (one JSON object a line), or "
            f"tfds:name/config:split.{csv_advice(spec)}"
        )
    table = Tsv(spec, header=not all(name.isdecimal() for name in names))
    for name in names:
        table.column(name)  # it exists
    places = (f"data source {spec!r}, line {number}" for number in table.line_numbers)
    return [Row(table[i], place) for i, place in enumerate(places)]


def _jsonl_rows(spec: str, names: Sequence[str]) -> list[Row]:
    rows = []
    for number, line in enumerate(read_lines(spec), 1):
        if not line.strip():
            continue
        place = f"data source {spec!r}, line {number}"
        try:
            cells = parse_json(line)
        except ValueError as error:
            raise UserError(f"{place}: not JSON ({error}); expected one object a line.") from None
        if not isinstance(cells, dict):
            raise UserError(f"{place}: expected a JSON object, such as {{{names[0]!r}: ...}}.")
        for name in names:
            if name not in cells:
                raise UserError(f"{place}: no {name!r}; it has {', '.join(cells) or 'nothing'}.")
        rows.append(Row(cells, place))
    if not rows:
        raise UserError(f"data source {spec!r}: it has no rows.")
    return rows


def _tfds_rows(spec: str, names: Sequence[str]) -> list[Row]:
    source = TfdsSource(spec.removeprefix("tfds:"))
    if not source.split:
        raise UserError(f"data source {spec!r}: it names no split; give {spec}:train or another split.")
    records = source.records(source.split)
    for name in names:
        source.require(name)
    features = source.builder.info.features
    rows = [
        Row(
            {name: _of_tfds(features[name], record[name]) for name in names},
            f"data source {spec!r}, record {number}",
        )
        for number, record in enumerate(records, 1)
    ]
    if not rows:
        raise UserError(f"data source {spec!r}: it has no rows.")
    return rows


def _of_tfds(feature: Any, value: Any) -> Any:
    """A value as text, number or list; classes by their names, and None for the -1 of a class that is not known."""
    if isinstance(value, dict):
        return {name: _of_tfds(feature[name], one) for name, one in value.items()}
    if isinstance(value, list | np.ndarray):
        return [_of_tfds(getattr(feature, "feature", feature), one) for one in value]
    if hasattr(feature, "int2str"):
        return feature.int2str(int(value)) if value >= 0 else None
    if isinstance(value, bytes):
        return value.decode("utf-8")
    return value.item() if hasattr(value, "item") else value


def _text(row: Row, name: str) -> str:
    cell = row.cells[name]
    if not isinstance(cell, str):
        raise UserError(f"{row.place}: {name!r} is {cell!r}; expected a text.")
    return cell


def _name(row: Row, name: str) -> str:
    cell = row.cells[name]
    if isinstance(cell, bool) or not isinstance(cell, str | int):
        raise UserError(f"{row.place}: the label {name!r} is {cell!r}; expected a text or an integer.")
    return str(cell).strip()


def _score(row: Row, name: str) -> float:
    cell = row.cells[name]
    try:
        score = math.nan if isinstance(cell, bool | list) else float(cell)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UserError(
            f"{row.place}: the score {name!r} is {cell!r}; expected a finite number, such as 3.5."
        )
    return score
