"""What a run folder records, for a page: everything is read as it lies there, nothing is computed again.

A folder may come from a stranger, be of a run that crashed, or be nearly empty. What cannot be read is told among the
`problems` of the record and left out.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etils import epath

from ssl_jax.errors import UserError
from ssl_jax.files import is_draft, read_json
from ssl_jax.runs.configuration import read_settings
from ssl_jax.training import folder as run_folder
from ssl_jax.training.metrics import Line
from ssl_jax.training.metrics import read as read_log
from ssl_jax.training.wall_time import Sitting, read_wall_time

PLACES = ("", "plots", "samples", "linear_eval", "linear_eval/plots", "few_shot")
"""Folders within a run folder that hold results."""
KINDS = {".json": "table", ".txt": "text", ".tsv": "text", ".png": "picture", ".wav": "sound"}
"""What a page does with files, by their ending."""
NO_RESULTS = {
    *run_folder.OF_THE_START,
    run_folder.CONFIG,
    run_folder.BASELINES,
    "corpus.json",
    "names.json",
    "vectors.txt",
}
"""Files that are for programs: the start of a run, its data, and word vectors."""
SIGNATURES = {"picture": b"\x89PNG\r\n\x1a\n", "sound": b"RIFF"}
"""What a file of this kind begins with."""
LARGEST = {"table": 2**20, "text": 2**16, "picture": 2**23, "sound": 2**23}
"""Bytes of a file, by kind; of a longer text, the beginning is taken."""
MOST_FILES = 24
"""Files of a kind in a folder; of more, the last ones are taken, which are the newest samples."""


@dataclass(frozen=True)
class Result:
    """A file that a run has left as a result.

    Attributes:
      path: within the run folder.
      kind: "table", "text", "picture" or "sound".
      content: JSON of a table, the text, or bytes.
      cut: whether only the beginning of the text is here.
    """

    path: str
    kind: str
    content: Any
    cut: bool = False


@dataclass
class RunRecord:
    """What a folder says of its run, or of its study.

    Attributes:
      folder: of the run.
      settings: what config.json holds.
      preset: the preset's configuration as JSON; None where this installation does not have it.
      environment: what environment.json holds.
      lines: of metrics.jsonl.
      baselines: by metric, values without a training by name.
      wall_time: the processes that have worked on the run.
      results: tables, texts, pictures and sounds.
      checkpoints: steps, ascending.
      is_study: whether it is the folder of a study, which has no data of its own and no source of weights.
      problems: what could not be read, in words.
    """

    folder: epath.Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    preset: Mapping[str, Any] | None = None
    environment: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[Line] = ()
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    wall_time: Sequence[Sitting] = ()
    results: list[Result] = field(default_factory=list)
    checkpoints: Sequence[int] = ()
    is_study: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def splits(self) -> list[str]:
        """The held-out sets in the log."""
        return list(dict.fromkeys(line["split"] for line in self.lines if "split" in line))


def read_records(folder: epath.Path) -> list[RunRecord]:
    """The record of a run; of a study, its own and then those of its runs.

    Raises:
      UserError: there is no such folder, it is not a run folder, or it holds a link that leads out of it.
    """
    if not (folder / run_folder.CONFIG).exists():
        raise UserError(f"{folder}: not a run folder (it has no {run_folder.CONFIG}).")
    run_folder.refuse_links(folder)
    record = read_record(folder)
    within = [*_runs_within(folder)] if record.is_study else []
    return [record, *map(read_record, within)]


def _runs_within(folder: epath.Path) -> Iterator[epath.Path]:
    """The outermost run folders below a folder."""
    for path in sorted(folder.iterdir()):
        if (
            path.is_dir()
            and not is_draft(path)
            and path.name not in (run_folder.CHECKPOINTS, run_folder.DAMAGED)
        ):
            if (path / run_folder.CONFIG).exists():
                yield path
            else:
                yield from _runs_within(path)


def read_record(folder: epath.Path) -> RunRecord:
    """What one folder says; what cannot be read is among its problems."""
    record = RunRecord(folder)

    def read(function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (UserError, OSError) as error:
            record.problems.append(str(error))
            return None

    record.settings = read(read_json, folder / run_folder.CONFIG, dict[str, Any]) or {}
    has_data = (folder / run_folder.DATA).exists()
    record.is_study = bool(record.settings) and "init_from" not in record.settings and not has_data
    if "experiment" in record.settings:  # a run that was made from Python may have none
        record.preset = read(_preset, folder)
    if (folder / run_folder.ENVIRONMENT).exists():
        record.environment = read(read_json, folder / run_folder.ENVIRONMENT, dict[str, Any]) or {}
    record.lines = read(read_log, folder) or []
    record.baselines = read(run_folder.read_baselines, folder) or {}
    record.wall_time = read(read_wall_time, folder) or []
    for place in PLACES:
        for file in read(_results_in, folder / place) or []:
            found = read(_result, file, str(file.relative_to(folder)))
            record.results += [found] if found else []
    kept = folder / run_folder.CHECKPOINTS
    if kept.is_dir():
        record.checkpoints = sorted(int(path.name) for path in kept.iterdir() if path.name.isdecimal())
    return record


def _preset(folder: epath.Path) -> dict[str, Any] | None:
    """The configuration of the preset as JSON. UserError if the experiment is not of this installation."""
    settings, module = read_settings(folder)
    preset = module.PRESETS.get(settings["preset"])
    return None if preset is None else json.loads(json.dumps(dataclasses.asdict(preset)))


def _results_in(folder: epath.Path) -> list[epath.Path]:
    """The files that are shown of a folder, in the order of their names, with numbers by their value."""
    if not folder.is_dir():
        return []
    by_kind: dict[str, list[epath.Path]] = {}
    for path in sorted(folder.iterdir(), key=_natural):
        if path.suffix in KINDS and path.name not in NO_RESULTS and not is_draft(path):
            by_kind.setdefault(KINDS[path.suffix], []).append(path)
    return [path for paths in by_kind.values() for path in paths[-MOST_FILES:]]


def _natural(path: epath.Path) -> list[tuple[str, int]]:
    """A key that sorts "step-20" before "step-100"."""
    return [(text, int(number or -1)) for text, number in re.findall(r"(\D*)(\d{0,18})", path.name)]


def _result(file: epath.Path, path: str) -> Result | None:
    """The content of a file; None for JSON that is too large to be a table.

    Raises:
      UserError: it is damaged, too large, or not what its ending says.
    """
    kind = KINDS[file.suffix]
    size = file.stat().length
    if kind == "text":
        with file.open("rb") as opened:
            content = opened.read(LARGEST[kind])
        return Result(path, kind, content.decode(errors="replace"), cut=size > LARGEST[kind])
    if size > LARGEST[kind]:
        if kind == "table":
            return None
        raise UserError(f"{file} is not shown: it has {size:,} bytes, more than {LARGEST[kind]:,}.")
    if kind == "table":
        return Result(path, kind, read_json(file, Any))
    content = file.read_bytes()
    if not content.startswith(SIGNATURES[kind]):
        raise UserError(f"{file} is not shown: it is not a {kind} of the kind that its name says.")
    return Result(path, kind, content)
