"""Tasks for few-shot evaluation of language models, and their prompts (arXiv:2005.14165)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.data.tsv import Tsv, is_tsv
from ssl_jax.errors import UserError

CHOICE_SEPARATOR = "|"
"""Separator of the choices in a column."""
MAX_SHARED_CHOICES = 20
"""If a task has at most this many distinct outputs, they are the choices of each item."""


class Item(NamedTuple):
    """One question of a task.

    Attributes:
      input: the question.
      output: the correct answer.
      choices: the answers to choose from; empty if the answer is free text.
    """

    input: str
    output: str
    choices: tuple[str, ...]


def read_task(spec: str, input_column: str, output_column: str, choices_column: str = "") -> list[Item]:
    """Reads a task.

    Args:
      spec: a .tsv file with a header line, or `tfds:name/config:split`, whose fields are the columns. Class labels of
        TFDS are read as their names.
      input_column: name of the column of inputs.
      output_column: name of the column of outputs.
      choices_column: name of a column of choices separated by "|". If empty, the choices of each item are the sorted
        distinct outputs of the task when there are 2 to 20 of them, and none otherwise.

    Raises:
      UserError: the source or a column does not exist, a cell is empty, or an output is not among its choices.
    """
    names = [input_column, output_column, *([choices_column] if choices_column else [])]
    columns = _tfds_columns(spec, names) if spec.startswith("tfds:") else _tsv_columns(spec, names)
    columns = [[cell.strip() for cell in column] for column in columns]
    inputs, outputs = columns[:2]
    for number, cells in enumerate(zip(*columns, strict=True), 1):
        if not all(cells):
            raise UserError(
                f"task {spec!r}, item {number}: an empty cell; expected a text in each of {', '.join(names)}."
            )
    if choices_column:
        choices = [tuple(c.strip() for c in cell.split(CHOICE_SEPARATOR)) for cell in columns[2]]
    else:
        common = tuple(sorted(set(outputs)))
        choices = [common if 2 <= len(common) <= MAX_SHARED_CHOICES else ()] * len(outputs)
    items = [Item(*parts) for parts in zip(inputs, outputs, choices, strict=True)]
    for number, item in enumerate(items, 1):
        if not all(item.choices):
            raise UserError(
                f"task {spec!r}, item {number}: an empty choice; expected texts separated by {CHOICE_SEPARATOR!r}."
            )
        if item.choices and item.output not in item.choices:
            raise UserError(
                f"task {spec!r}, item {number}: its {output_column} {item.output!r} is not among its choices "
                f"{', '.join(map(repr, item.choices))}."
            )
    return items


def _tsv_columns(spec: str, names: Sequence[str]) -> list[list[str]]:
    if not is_tsv(spec):
        raise UserError(f"task {spec!r}: expected a .tsv file with a header line, or tfds:name/config:split.")
    table = Tsv(spec)
    return [table.column(name) for name in names]


def _tfds_columns(spec: str, names: Sequence[str]) -> list[list[str]]:
    source = TfdsSource(spec.removeprefix("tfds:"))
    if not source.split:
        raise UserError(f"task {spec!r}: it names no split; give {spec}:validation or another split.")
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
    """The format of a prompt: description, examples and query, joined by `separator`.

    Attributes:
      example: template with {input}, and {output} at its end.
      description: first part of the prompt; omitted if empty.
      separator: between the parts.

    Raises:
      UserError: `example` does not have {input} once and {output} at its end.
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
        """The text between an input and its output, "=>": the context of an answer without its question."""
        return self._before_output.partition("{input}")[2].strip()

    def continuation(self, output: str) -> str:
        """The text of an output after a prompt.

        It starts with the space, because tokenizers attach a space to the next word.
        """
        return self._before_output[len(self._before_output.rstrip(" ")) :] + output

    def prompt(self, query: str, examples: Sequence[Item] = ()) -> str:
        """The prompt up to the output, without the space before the output."""
        shown = [self._before_output.replace("{input}", item.input) + item.output for item in examples]
        asked = self._before_output.replace("{input}", query).rstrip(" ")
        return self.separator.join([*([self.description] if self.description else []), *shown, asked])


class Examples:
    """Selects the examples of a prompt.

    The selection depends only on the text of the query, the seed, the draw, and the set of (input, output) pairs in the
    pool. It does not depend on the order of the pool or on the other evaluated items. The first k examples are the same
    for every number of shots above k.
    """

    def __init__(self, pool: Sequence[Item], seed: int):
        unique = {(item.input, item.output): item for item in pool}
        self._pool = [unique[key] for key in sorted(unique)]
        self._seed = seed

    def choose(self, query: str, shots: int, draw: int = 0) -> list[Item]:
        """Selects `shots` examples for a query, in order; none of them has the query's own input.

        Args:
          query: input of the evaluated item.
          shots: number of examples.
          draw: index of the selection, for several selections for the same query.

        Raises:
          UserError: the pool has fewer examples.
        """
        others = [item for item in self._pool if item.input != query]
        if shots > len(others):
            raise UserError(
                f"{shots} examples for {query!r}: there are only {len(others)} others with another input. Use fewer "
                "--shots, or give more --examples."
            )
        digest = hashlib.blake2b(f"{self._seed} {draw} {query}".encode(), digest_size=16).digest()
        order = np.random.default_rng(int.from_bytes(digest)).permutation(len(others))
        return [others[i] for i in order[:shots]]
