"""Tasks for language models that are told what to do by examples, and the prompts made of them (arXiv:2005.14165)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.data.tsv import Tsv
from ssl_jax.errors import UserError

CHOICES_BETWEEN = "|"
"""Stands between the choices in a column of them."""
MOST_COMMON_CHOICES = 20
"""The outputs of a task are the choices of every item when there are at most so many different ones."""


class Item(NamedTuple):
    """What is asked, the right answer, and the answers to choose from; none if there is nothing to choose."""

    input: str
    output: str
    choices: tuple[str, ...]


def read_task(spec: str, input_column: str, output_column: str, choices_column: str = "") -> list[Item]:
    """Reads a task.

    Args:
      spec: a .tsv file with a header line, or `tfds:name/config:split`, whose fields are the columns; classes appear by
        their names.
      input_column, output_column: their names.
      choices_column: of choices with "|" between them. Without it, all items have the task's different outputs to
        choose from, sorted, when these are 2 to 20; else none.

    Raises:
      UserError: no such source or column (it names those there are), an empty cell, or an output that is not among its
        choices.
    """
    names = [input_column, output_column, *([choices_column] if choices_column else [])]
    columns = _tfds_columns(spec, names) if spec.startswith("tfds:") else _tsv_columns(spec, names)
    columns = [[cell.strip() for cell in column] for column in columns]
    inputs, outputs = columns[:2]
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        if not all(cells):
            raise UserError(
                f"task {spec!r}, item {number}: an empty cell; {', '.join(names)} need a text each."
            )
    if choices_column:
        choices = [tuple(c.strip() for c in cell.split(CHOICES_BETWEEN)) for cell in columns[2]]
    else:
        common = tuple(sorted(set(outputs)))
        choices = [common if 2 <= len(common) <= MOST_COMMON_CHOICES else ()] * len(outputs)
    items = [Item(*parts) for parts in zip(inputs, outputs, choices, strict=True)]
    for number, item in enumerate(items, 1):
        if not all(item.choices):
            raise UserError(
                f"task {spec!r}, item {number}: an empty choice; expected texts with {CHOICES_BETWEEN!r} between them."
            )
        if item.choices and item.output not in item.choices:
            raise UserError(
                f"task {spec!r}, item {number}: its {output_column} {item.output!r} is not among its choices "
                f"{', '.join(map(repr, item.choices))}."
            )
    return items


def _tsv_columns(spec: str, names: Sequence[str]) -> list[list[str]]:
    if Path(spec).suffix != ".tsv":
        raise UserError(f"task {spec!r}: expected a .tsv file with a header line, or tfds:name/config:split.")
    table = Tsv(spec)
    return [table.column(name) for name in names]


def _tfds_columns(spec: str, names: Sequence[str]) -> list[list[str]]:
    source = TfdsSource(spec.removeprefix("tfds:"))
    if not source.split:
        raise UserError(f"task {spec!r}: which split? Give {spec}:validation or another one.")
    records = source.records(source.split)
    for name in names:
        source.require(name)

    def text(name: str, value: object) -> str:
        feature = source.builder.info.features[name]
        if hasattr(feature, "int2str"):
            return feature.int2str(int(value))
        return value.decode("utf-8") if isinstance(value, bytes) else str(value)

    return [[text(name, record[name]) for record in records] for name in names]


@dataclass(frozen=True)
class Format:
    """How a prompt looks: description, examples and query, with `separator` between them.

    Raises UserError unless `example` has {input}, then {output} at its end.
    """

    example: str = "{input} => {output}"
    description: str = ""
    separator: str = "\n"

    def __post_init__(self) -> None:
        if self.example.count("{input}") != 1 or not self.example.endswith("{output}"):
            raise UserError(
                f"format {self.example!r}: expected {{input}} once and {{output}} at its end, such as "
                "'{input} => {output}'."
            )

    @property
    def _before_output(self) -> str:
        return self.example.removesuffix("{output}")

    @property
    def answer_context(self) -> str:
        """What stands between an input and its output, without what is known of the item: "=>"."""
        return self._before_output.partition("{input}")[2].strip()

    def continuation(self, output: str) -> str:
        """An output as it follows a prompt. The space belongs to it, as tokenizers put it before words."""
        return self._before_output[len(self._before_output.rstrip(" ")) :] + output

    def prompt(self, query: str, examples: Sequence[Item] = ()) -> str:
        """The whole prompt, up to where the output begins, without the space before that."""
        shown = [self._before_output.replace("{input}", item.input) + item.output for item in examples]
        asked = self._before_output.replace("{input}", query).rstrip(" ")
        return self.separator.join([*([self.description] if self.description else []), *shown, asked])


class Examples:
    """Chooses the examples of a prompt.

    What is chosen for a query depends on the query's text, the seed, the draw, and the different (input, output) pairs
    of the pool: not on their order, nor on the items evaluated beside it. Fewer examples are the first of more.
    """

    def __init__(self, pool: Sequence[Item], seed: int):
        unique = {(item.input, item.output): item for item in pool}
        self._pool = [unique[key] for key in sorted(unique)]
        self._seed = seed

    def choose(self, query: str, shots: int, draw: int = 0) -> list[Item]:
        """`shots` examples for a query, none of them with the same input, in order.

        draw: the number of the choice, for several ones of the same query.

        Raises:
          UserError: there are not as many.
        """
        others = [item for item in self._pool if item.input != query]
        if shots > len(others):
            raise UserError(
                f"{shots} examples for {query!r}: there are only {len(others)} others with another input. Ask for "
                "fewer --shots, or give more --examples."
            )
        digest = hashlib.blake2b(f"{self._seed} {draw} {query}".encode(), digest_size=16).digest()
        order = np.random.default_rng(int.from_bytes(digest)).permutation(len(others))
        return [others[i] for i in order[:shots]]
