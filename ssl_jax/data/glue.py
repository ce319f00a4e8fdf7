"""GLUE's tasks (arXiv:1804.07461): nine, and a set for diagnosis, from a folder in GLUE's own layout or from TFDS.

Files have no quoting. CoLA has no header line in its training and development sets; STS-B's, MNLI's and others' columns
are found by name. Labels get the names that they have in TFDS, since files number them differently.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from ssl_jax.data.labelled_tables import Columns, open_rows
from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.lines import read_lines
from ssl_jax.errors import UserError

TaskName = Literal["cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "qnli", "rte", "wnli"]
"""The nine tasks that models are trained on."""

MOST_DAMAGED = 0.001
"""Share of rows without all columns, which QQP has a few of, that are left out of a training or development set."""


class GlueTask(NamedTuple):
    """A task.

    Attributes:
      folder: its name in GLUE's own layout.
      text: column of the first sentence.
      second: column of the second sentence; "" for single sentences.
      label: column of the label.
      labels: the name of each label of the files, in the order of TFDS; empty for scores.
      examples: number of its training examples.
      train: names of the splits of training data.
      heldout: names of the labelled splits to evaluate on.
      test: names of the splits whose labels only GLUE's server has.
    """

    folder: str
    text: str
    second: str
    label: str
    labels: Mapping[str, str]
    examples: int
    train: tuple[str, ...] = ("train",)
    heldout: tuple[str, ...] = ("validation",)
    test: tuple[str, ...] = ("test",)

    @property
    def scored(self) -> bool:
        """Whether labels are scores."""
        return not self.labels


_ENTAILMENT = {name: name for name in ("entailment", "neutral", "contradiction")}
_TWO_WAY = {name: name for name in ("entailment", "not_entailment")}
_MNLI = ("validation_matched", "validation_mismatched"), ("test_matched", "test_mismatched")

TASKS = {
    "cola": GlueTask("CoLA", "sentence", "", "label", {"0": "unacceptable", "1": "acceptable"}, 8_551),
    "sst2": GlueTask("SST-2", "sentence", "", "label", {"0": "negative", "1": "positive"}, 67_349),
    "mrpc": GlueTask(
        "MRPC", "#1 String", "#2 String", "Quality", {"0": "not_equivalent", "1": "equivalent"}, 3_668
    ),
    "qqp": GlueTask(
        "QQP", "question1", "question2", "is_duplicate", {"0": "not_duplicate", "1": "duplicate"}, 363_846
    ),
    "stsb": GlueTask("STS-B", "sentence1", "sentence2", "score", {}, 5_749),
    "mnli": GlueTask(
        "MNLI", "sentence1", "sentence2", "gold_label", _ENTAILMENT, 392_702, ("train",), *_MNLI
    ),
    "qnli": GlueTask("QNLI", "question", "sentence", "label", _TWO_WAY, 104_743),
    "rte": GlueTask("RTE", "sentence1", "sentence2", "label", _TWO_WAY, 2_490),
    "wnli": GlueTask(
        "WNLI", "sentence1", "sentence2", "label", {"0": "not_entailment", "1": "entailment"}, 635
    ),
    "ax": GlueTask("AX", "sentence1", "sentence2", "label", _ENTAILMENT, 0, (), ()),
}
"""The tasks by their names in TFDS. `ax` is for models that were trained on `mnli`."""

_FILES = {
    "train": "train.tsv",
    "validation": "dev.tsv",
    "test": "test.tsv",
    **{f"validation_{kind}": f"dev_{kind}.tsv" for kind in ("matched", "mismatched")},
    **{f"test_{kind}": f"test_{kind}.tsv" for kind in ("matched", "mismatched")},
}
_COLA_COLUMNS = ("source", "label", "original", "sentence")
_AX_FILES = ("AX/AX.tsv", "AX/diagnostic.tsv", "diagnostic/diagnostic.tsv")
_TFDS_NAMES = {  # where they differ from the names in the files
    "mrpc": ("sentence1", "sentence2"),
    "mnli": ("premise", "hypothesis"),
    "ax": ("premise", "hypothesis"),
}
TFDS_COLUMNS = {
    name: Columns(*_TFDS_NAMES.get(name, (task.text, task.second)), label="label")
    for name, task in TASKS.items()
}
"""The fields of `tfds:glue/NAME`."""


def read_glue(spec: str, task: str, split: str) -> list[LabelledText]:
    """Reads a split of a task, in the order that predictions are submitted in.

    Args:
      spec: the folder that has the folders CoLA, SST-2 and so on; or `tfds:glue`.
      task: a name in `TASKS`.
      split: one of the names in the task's `train`, `heldout` and `test`.

    Returns:
      The examples, without labels or scores if it is a test split.

    Raises:
      UserError: the task or the file does not exist, a column is missing, a label is unknown, or a score is not a
        number; the message names the file and the line.
    """
    if task not in TASKS:
        raise UserError(f"GLUE task {task!r}: expected one of {', '.join(TASKS)}.")
    kind = TASKS[task]
    if split not in (*kind.train, *kind.heldout, *kind.test):
        raise UserError(
            f"GLUE task {task!r}: it has no split {split!r}; expected one of "
            f"{', '.join((*kind.train, *kind.heldout, *kind.test))}."
        )
    labelled = split not in kind.test
    if spec.startswith("tfds:"):
        return _tfds(f"{spec}/{task}:{split}", task, labelled)
    return _file(_path(Path(os.path.expanduser(spec)), task, split), kind, labelled, split)


def _path(root: Path, task: str, split: str) -> Path:
    if task == "ax":
        found = [root / name for name in _AX_FILES if (root / name).is_file()]
        return found[0] if found else root / _AX_FILES[0]
    return root / TASKS[task].folder / _FILES[split]


def _file(path: Path, task: GlueTask, labelled: bool, split: str) -> list[LabelledText]:
    lines = [(number, line.split("\t")) for number, line in enumerate(read_lines(str(path)), 1) if line]
    has_header = task.folder != "CoLA" or not labelled
    names = lines[0][1] if has_header and lines else _COLA_COLUMNS
    lines = lines[has_header:]
    if not lines:
        raise UserError(f"data source {str(path)!r}: it has no rows.")
    wanted = [name for name in (task.text, task.second, task.label if labelled else "") if name]
    for name in wanted:
        if name not in names:
            raise UserError(
                f"data source {str(path)!r}, line 1: no column {name!r}; its columns are {', '.join(names)}."
            )
    examples, damaged = [], []
    for number, fields in lines:
        if len(fields) < len(names):
            damaged.append(number)
            continue
        cells = dict(zip(names, fields, strict=False))
        place = f"data source {str(path)!r}, line {number}"
        second = cells[task.second] if task.second else None
        examples.append(
            _labelled(
                LabelledText(cells[task.text], second, place=place), cells.get(task.label), task, labelled
            )
        )
    if len(damaged) > (MOST_DAMAGED * len(lines) if labelled else 0):
        raise UserError(
            f"data source {str(path)!r}, line {damaged[0]}: fewer columns than the {len(names)} of its first line, and "
            f"{len(damaged) - 1} other such lines; expected columns separated by tabs. Is it {split} of "
            f"{task.folder}?"
        )
    return examples


def _tfds(spec: str, name: str, labelled: bool) -> list[LabelledText]:
    task = TASKS[name]
    text, second, label, _ = TFDS_COLUMNS[name]
    rows = open_rows(spec, [column for column in (text, second, label, "idx") if column])
    rows.sort(key=lambda row: row.cells["idx"])  # TFDS shuffles
    examples = []
    for row in rows:
        example = LabelledText(row.cells[text], row.cells[second] if second else None, place=row.place)
        if labelled and task.labels:
            example = example._replace(label=row.cells[label])
        elif labelled:
            example = _labelled(example, str(row.cells[label]), task, labelled)
        examples.append(example)
    return examples


def _labelled(example: LabelledText, label: str | None, task: GlueTask, labelled: bool) -> LabelledText:
    if not labelled:
        return example
    if task.scored:
        try:
            score = float(label)
        except ValueError:
            score = math.nan
        if not 0 <= score <= 5:
            raise UserError(f"{example.place}: the score is {label!r}; expected a number from 0 to 5.")
        return example._replace(score=score)
    if label not in task.labels:
        raise UserError(
            f"{example.place}: the label {label!r}; expected {' or '.join(map(repr, task.labels))}."
        )
    return example._replace(label=task.labels[label])
