"""A page of HTML that shows one or several runs: what they were, what they learnt, and where their time went.

The page is one file without any script. Curves and pictures are part of it; it asks for nothing from a network, and a
policy in it forbids that. All text, names of files included, is escaped.
"""

import base64
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jinja2

from ssl_jax.evals.metric_names import COLLAPSE, kind, plot_title
from ssl_jax.evals.plots import draw_curves, svg
from ssl_jax.reports.page_tables import (
    Share,
    Table,
    all_settings,
    changed_settings,
    differences_table,
    environment_table,
    results_table,
    tables_of,
    time_shares,
    total_time,
)
from ssl_jax.runs.records import Result, RunRecord
from ssl_jax.training.metrics import LABELS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIRST = 12
"""Curves that are shown at once; more are behind a click."""
MODULE = re.compile(r"((?:experiments|ssl_jax)/\w+)\.py$")
"""The file of a command, as Python names it."""
LISTED = 8
"""Checkpoints that are named."""


class Picture(NamedTuple):
    """A picture in the page.

    Attributes:
      name: of what it shows.
      address: the picture itself, as a data address.
      alt: what it shows, in a sentence.
    """

    name: str
    address: str
    alt: str


class Section(NamedTuple):
    """What the page says of one run or study.

    Attributes:
      name: of the run.
      anchor: its identifier in the page.
      record: what its folder records.
      status: how far it is, in a sentence.
      failed: whether it ended by an error.
      preset: that its configuration began with.
      facts: where it is, what it is of and what it was trained on, in a sentence.
      command: with which it was started, as far as it is known.
      changed: fields in which it differs from its preset; None if that is not known.
      settings: all of them.
      environment: versions and devices.
      tables: of its results.
      pictures: that its report and its samples have drawn.
      texts: that it has written.
      sounds: that it has made, as pictures are embedded.
      times: where its time went.
      total: the whole time, as text.
    """

    name: str
    anchor: str
    record: RunRecord
    status: str
    failed: bool
    preset: str
    facts: str
    command: str
    changed: Table | None
    settings: Table
    environment: Table
    tables: list[Table]
    pictures: list[Picture]
    texts: list[Result]
    sounds: list[Picture]
    times: list[Share]
    total: str


def render_page(title: str, records: Mapping[str, RunRecord]) -> str:
    """The page as HTML.

    Args:
      title: of the page.
      records: of runs and studies, by the name that each has in the page.
    """
    runs = {name: record for name, record in records.items() if not record.is_study}
    several = len(runs) > 1
    curves = draw_all(runs)
    return _template().render(
        title=title,
        several=several,
        sections=[_section(f"run-{i}", *item) for i, item in enumerate(records.items(), 1)],
        results=results_table(runs),
        differences=differences_table(runs) if several else None,
        curves=curves[:FIRST],
        more_curves=curves[FIRST:],
    )


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ssl_jax.reports", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html")


def draw_all(runs: Mapping[str, RunRecord]) -> list[Picture]:
    """The curve of every metric in the logs, then of the schedules and of the speed: one figure for each."""
    lines = {name: record.lines for name, record in runs.items()}
    of_training = {name for each in lines.values() for line in each if "split" not in line for name in line}
    names = dict.fromkeys(name for each in lines.values() for line in each for name in line)
    evaluated = [
        name
        for name in names
        if any(name in line and "split" in line for of in lines.values() for line in of)
    ]
    ordered = dict.fromkeys([*evaluated, *(name for name in names if name in of_training)])
    ordered = sorted((name for name in ordered if name not in LABELS), key=_rank)
    found = [_curve(name, lines, _baselines(runs, name)) for name in ordered]
    timings = {
        name: [
            {"step": line["step"], **line["timing"]}
            for line in each
            if "timing" in line and "split" not in line
        ]
        for name, each in lines.items()
    }
    speeds = dict.fromkeys(name for each in timings.values() for line in each for name in line)
    found += [_curve(name, timings, {}) for name in speeds if name not in ("step", "seconds")]
    return [picture for picture in found if picture]


def _rank(name: str) -> int:
    """Losses come first; what shows a collapse, and schedules, come last."""
    if kind(name) == "loss":
        return 0
    if name in COLLAPSE:
        return 2
    return 3 if kind(name) == "rate" else 1


def _baselines(runs: Mapping[str, RunRecord], name: str) -> dict[str, dict[str, float]]:
    """Of a single run: beside several, they would be of only one of them."""
    if len(runs) != 1:
        return {}
    (record,) = runs.values()
    return {name: dict(record.baselines.get(name, {}))}


def _curve(
    name: str, lines: Mapping[str, Sequence[Mapping[str, Any]]], baselines: Mapping[str, Mapping[str, float]]
) -> Picture | None:
    having = {label: each for label, each in lines.items() if any(name in line for line in each)}
    figures = draw_curves(lines if len(lines) > 1 and having else having, [name], baselines)
    if not figures:
        return None
    (figure,) = figures.values()
    alt = f"{plot_title(name)} against the step, of {', '.join(having)}"
    return Picture(plot_title(name), _address("image/svg+xml", _vector(figure)), alt)


def _vector(figure: "Figure") -> bytes:
    figure.set_size_inches(5.6, 3.4)
    return svg(figure)


def _address(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _section(anchor: str, name: str, record: RunRecord) -> Section:
    status, failed = describe_status(record)
    drawn = {kind(metric) for line in record.lines for metric in line} if not record.is_study else set()
    pictures, texts, sounds, tables = [], [], [], []
    written = {result.path for result in record.results if result.kind == "text"}
    for result in record.results:
        short = result.path.rpartition(".")[0]
        if result.kind == "picture":
            # The curves that a run draws at its end are in the page already.
            if not (result.path.startswith("plots/") and short.removeprefix("plots/") in drawn):
                alt = f"{short.rpartition('/')[2].replace('_', ' ')}, a picture that the run has drawn"
                pictures.append(Picture(short, _address("image/png", result.content), alt))
        elif result.kind == "sound":
            sounds.append(Picture(short, _address("audio/wav", result.content), short))
        elif result.kind == "text":
            texts.append(result)
        elif f"{short}.txt" not in written:  # a study writes its table as text, too
            tables += tables_of(short, result.content)
    return Section(
        name=name,
        anchor=anchor,
        record=record,
        status=status,
        failed=failed,
        preset=str(record.settings.get("preset")),
        facts=facts_of(record),
        command=command_of(record),
        changed=changed_settings(record),
        settings=all_settings(record),
        environment=environment_table(record),
        tables=tables,
        pictures=pictures,
        texts=texts,
        sounds=sounds,
        times=time_shares(record),
        total=total_time(record),
    )


def describe_status(record: RunRecord) -> tuple[str, bool]:
    """(how far a run is, in a sentence; whether it ended by an error)."""
    if record.is_study:
        return "a study of several runs", False
    last = max((line["step"] for line in record.lines), default=0)
    if not record.wall_time:
        return (f"trained to step {last:,}" if last else "nothing has been trained yet"), False
    sitting = record.wall_time[-1]
    place = f"step {sitting['last_step']:,} of {sitting['steps']:,}"
    match sitting.get("ended"):
        case None:
            return f"at {place} or later: still working, or killed", False
        case "finished":
            return f"finished at {place}", False
        case "stopped":
            return f"stopped at {place}; the same command continues it", False
        case error:
            return f"ended by an error at {place}: {error}", True


def facts_of(record: RunRecord) -> str:
    """Where a run is, what it is of and what it was trained on, in a sentence."""
    settings, devices = record.settings, record.environment.get("devices")
    parts = [f"Folder {record.folder}"]
    parts += [f"experiment {settings['experiment']}"] if "experiment" in settings else []
    parts += [f"started from {settings['init_from']}"] if settings.get("init_from") else []
    if isinstance(devices, list) and devices:
        parts.append(f"on {len(devices)} × {devices[0]}")
    if record.checkpoints:
        steps = ", ".join(f"{step:,}" for step in record.checkpoints[-LISTED:])
        before = "..., " if len(record.checkpoints) > LISTED else ""
        parts.append(f"checkpoints of steps {before}{steps}")
    return "; ".join(parts) + "."


def command_of(record: RunRecord) -> str:
    """The command line that made a run or the study that it is of; empty if it is not known."""
    words = record.environment.get("command")
    if not isinstance(words, list) or not words:
        return ""
    program, *rest = map(str, words)
    if module := MODULE.search(program):
        program = "python -m " + module[1].replace("/", ".").removesuffix(".__main__")
    return f"{program} {shlex.join(rest)}".strip()
