"""Tables of a page: of the JSON that runs leave behind, of configurations and of times."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ssl_jax.evals.metric_names import shown
from ssl_jax.evals.probe_comparison import DEVIATION, LABELS
from ssl_jax.runs.records import RunRecord
from ssl_jax.training.changes import flatten
from ssl_jax.training.progress import duration

MOST_ROWS, MOST_COLUMNS, DEEPEST = 100, 30, 4
"""Of a table; what is beyond is left out and counted. Deeper JSON is no table."""
MOST_LISTED = 12
"""Numbers of a list that are written out."""
CONFIG = "config"
"""The key of config.json that holds the configuration."""
ACTIVITIES = {
    "start_up": "start-up",
    "compile": "compilation of the step",
    "data_wait": "waiting for data",
    "step": "training steps",
    "evaluation": "evaluation and samples",
    "checkpoint": "checkpoints",
    "report": "report of the run",
}
"""What a process does, in the words of the page."""


class Table(NamedTuple):
    """A table of texts.

    Attributes:
      title: above it.
      columns: names, that of the column of row names first.
      rows: the name of each and its cells.
      note: below it, such as how many rows are left out.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def tables_of(title: str, content: Any, depth: int = 0) -> list[Table]:
    """JSON as tables: one for the numbers of an object, or of an object of objects, and one for each that lies deeper.

    Lists of many numbers, which plots show, are only counted.

    Example:
      >>> print(tables_of("probes", {"trained": {"knn": 0.5}, "pixels": {"knn": 0.25}})[0].rows)
      [['trained', '50.0%'], ['pixels', '25.0%']]
    """
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        content = {str(number): row for number, row in enumerate(content, 1)}
    if not isinstance(content, dict) or depth > DEEPEST:
        return []
    rows = {name: row for name, row in content.items() if isinstance(row, dict) and _is_flat(row)}
    single = {name: value for name, value in content.items() if _is_cell(value)}
    found = [_of_rows(title, rows)] if rows else []
    if single:
        found.append(_limited(title, ["", "value"], [[name, _cell(name, v)] for name, v in single.items()]))
    for name, inner in content.items():
        if name not in rows and name not in single:
            found += tables_of(f"{title}: {name}", inner, depth + 1)
    return found


def _of_rows(title: str, rows: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    columns = [name for name in columns if not _belongs_to_another(name, columns)]
    body = [[str(name), *(_with_deviation(row, column) for column in columns)] for name, row in rows.items()]
    return _limited(title, ["", *(_column_title(rows, column) for column in columns)], body)


def _column_title(rows: Mapping[str, Mapping[str, Any]], column: str) -> str:
    """The name of a metric, and to how many labels it is fitted."""
    labels = {str(row[column + LABELS]) for row in rows.values() if column + LABELS in row}
    return column.replace("_", " ") + (f" ({', '.join(sorted(labels))} labels)" if labels else "")


def _belongs_to_another(name: str, columns: Sequence[str]) -> bool:
    """Whether a column is the deviation or the number of labels of another one."""
    return any(name.endswith(end) and name.removesuffix(end) in columns for end in (DEVIATION, LABELS))


def _with_deviation(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        return ""
    deviation = row.get(column + DEVIATION)
    return _cell(column, row[column]) + ("" if deviation is None else f" ± {_cell(column, deviation)}")


def _limited(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    left = [
        f"{count - most:,} more {what}"
        for what, count, most in (("rows", len(rows), MOST_ROWS), ("columns", len(columns), MOST_COLUMNS))
        if count > most
    ]
    body = [row[:MOST_COLUMNS] for row in rows[:MOST_ROWS]]
    return Table(title, columns[:MOST_COLUMNS], body, f"and {' and '.join(left)}" if left else "")


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float) or _is_list(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _is_flat(row: Mapping[str, Any]) -> bool:
    return all(map(_is_cell, row.values()))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if _is_list(value):
        if len(value) > MOST_LISTED:
            return f"{len(value):,} values"
        return ", ".join(_cell(name, one) for one in value)
    return str(value) if isinstance(value, str | bool) else shown(name, value)


def results_table(records: Mapping[str, RunRecord]) -> Table | None:
    """The last evaluation of each run on each held-out set; None if no run has been evaluated."""
    found: dict[str, dict[str, Any]] = {}
    for name, record in records.items():
        for split in record.splits:
            line = next(line for line in reversed(record.lines) if line.get("split") == split)
            metrics = {key: value for key, value in line.items() if key not in ("split", "timing")}
            label = [name] if len(records) > 1 else []
            found[", ".join([*label, split])] = metrics
    return _of_rows("last evaluation", found) if found else None


def changed_settings(record: RunRecord) -> Table | None:
    """The fields in which a run differs from its preset; None if the preset is not known."""
    if record.preset is None:
        return None
    preset, own = flatten(record.preset), flatten(record.settings.get(CONFIG, {}))
    names = [name for name in {**preset, **own} if preset.get(name) != own.get(name)]
    rows = [[name, _setting(preset.get(name)), _setting(own.get(name))] for name in names]
    title = f"differences from preset {record.settings.get('preset')}"
    return _limited(title, ["setting", "preset", "this run"], rows)


def all_settings(record: RunRecord) -> Table:
    """The whole configuration of a run."""
    own = flatten(record.settings.get(CONFIG, {}))
    return Table(
        "configuration", ["setting", "value"], [[name, _setting(value)] for name, value in own.items()]
    )


def environment_table(record: RunRecord) -> Table:
    """Versions, devices and revision that a run was made with."""
    rows = [
        [name, _setting(value)] for name, value in flatten(record.environment).items() if name != "command"
    ]
    return Table("environment", ["", "value"], rows)


def differences_table(records: Mapping[str, RunRecord]) -> Table:
    """The settings, versions and devices in which runs differ; the runs are columns, or rows if they are many.

    What only one of them has, such as a setting of another experiment, is left out.
    """
    flat = {
        name: flatten(
            {
                **{key: value for key, value in record.settings.items() if key != CONFIG},
                **record.settings.get(CONFIG, {}),
                "environment": {key: value for key, value in record.environment.items() if key != "command"},
            }
        )
        for name, record in records.items()
    }
    names = dict.fromkeys(setting for row in flat.values() for setting in row)
    differing = [
        name for name in names if len({_setting(row[name]) for row in flat.values() if name in row}) > 1
    ]
    rows = [
        [name, *(_setting(row[name]) if name in row else "–" for row in flat.values())] for name in differing
    ]
    columns = ["setting", *records]
    if len(records) > max(4, len(differing)):
        columns, *rows = map(list, zip(columns, *rows, strict=True))
    return _limited("differences", columns, rows)


def _setting(value: Any) -> str:
    if isinstance(value, dict | list):
        return ", ".join(map(str, value)) if value else "none"
    return "none" if value is None else str(value)


class Share(NamedTuple):
    """A part of the time of a run.

    Attributes:
      activity: what was done.
      time: how long, as text.
      percent: of the whole time.
    """

    activity: str
    time: str
    percent: float


def time_shares(record: RunRecord) -> list[Share]:
    """Where the time of a run went, over all processes that worked on it; empty if nothing says so."""
    seconds = dict.fromkeys(ACTIVITIES, 0.0)
    for sitting in record.wall_time:
        for activity, time in sitting["seconds"].items():
            seconds[activity] = seconds.get(activity, 0.0) + time
    if not record.wall_time:
        seconds = _logged_seconds(record)
    total = sum(seconds.values())
    if total <= 0:
        return []
    return [
        Share(ACTIVITIES.get(activity, activity), in_words(time), 100 * time / total)
        for activity, time in seconds.items()
        if time > 0
    ]


def _logged_seconds(record: RunRecord) -> dict[str, float]:
    """Of a run without wall_time.json: what the log says of its training."""
    before, waited = 0.0, 0.0
    for line in record.lines:
        if "seconds" in (timing := line.get("timing", {})):
            waited += timing.get("data_wait", 0.0) * (timing["seconds"] - before)
            before = timing["seconds"]
    return {"data_wait": waited, "step": before - waited}


def total_time(record: RunRecord) -> str:
    """The whole time of a run, as text; empty if it is not recorded."""
    total = sum(sum(sitting["seconds"].values()) for sitting in record.wall_time)
    return in_words(total) if total else ""


def in_words(seconds: float) -> str:
    """Seconds as text.

    Example:
      >>> in_words(0.26), in_words(3723.4)
      ('0.3 s', '1:02:03')
    """
    return f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
