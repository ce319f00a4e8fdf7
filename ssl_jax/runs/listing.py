"""What there is to run: the modules of experiments/, and one table of them made from the modules themselves."""

import ast
import dataclasses
import difflib
import importlib
import importlib.util
import itertools
import pkgutil
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from ssl_jax.data.images import ImageConfig
from ssl_jax.data.tokenizer_files import TokenizerConfig
from ssl_jax.errors import UserError

PACKAGE = "experiments"
INSTALLED = Path(__file__).resolve().parents[2] / PACKAGE
"""The folder of the experiments of this installation."""
OFFLINE = "offline"
EMBEDDED = ("pydocs", "digits")
"""Sources of data that are part of installed Python packages."""
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
WIDTHS = (42, 46)
"""Widest lines of the column of summaries and of that of presets."""


class Entry(NamedTuple):
    """A module of experiments/.

    Attributes:
      name: of the module, without the package.
      papers: their numbers at arXiv.
      summary: what it is, in a line.
      presets: names, the default first, and what data each needs ("offline" for none).
      several: whether it is a study of several runs.
    """

    name: str
    papers: Sequence[str]
    summary: str
    presets: Mapping[str, str]
    several: bool = False


def experiment_names() -> list[str]:
    """Full names of all modules of experiments/."""
    package = importlib.import_module(PACKAGE)
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return [f"{PACKAGE}.{name}" for name in names if not name.startswith("_")]


def import_experiment(name: str) -> ModuleType:
    """The module of an experiment or a study, which the user or the program has named. It may be any module.

    Raises:
      UserError: there is no such module (the closest name is told), it cannot be imported, or it has no PRESETS.
    """
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise UserError(f"{name} cannot be imported: {error}.") from error
        raise UserError(
            f"{name}: there is no such experiment. {_suggestion(name)}`python -m {PACKAGE}` lists all of them."
        ) from error
    if not hasattr(module, "PRESETS"):
        raise UserError(
            f"{name} is not an experiment: it has no PRESETS; `python -m {PACKAGE}` lists all of them."
        )
    return module


def import_installed(name: str, place: object) -> ModuleType:
    """The module of an experiment or a study that a file names.

    A file may come from a stranger. Importing a module runs it, so that only the modules in the folder experiments/
    beside the package ssl_jax are imported. A module that this process has imported before is accepted too.

    Args:
      name: of the module, as the file has it.
      place: name of the file in errors.

    Raises:
      UserError: it is not the name of an experiment of this installation. Nothing has been imported then.
    """
    if name in sys.modules:
        return import_experiment(name)
    package, _, short = name.partition(".")
    if package != PACKAGE or short.startswith("_") or not short.isidentifier() or short not in _installed():
        raise UserError(
            f"{place}: names the experiment {name!r}, which is not part of this installation; it was not imported, "
            f"because a file must not choose which code runs. {_suggestion(name)}If it is an experiment of yours, put "
            f"its file into {INSTALLED}."
        )
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None or Path(found.origin).resolve().parent != INSTALLED:
        raise UserError(
            f"{place}: names an experiment, but another folder {PACKAGE}/ comes before {INSTALLED} in the path of "
            "Python; nothing in it was imported. Start the command in another folder."
        )
    return import_experiment(name)


def _installed() -> list[str]:
    """Names of the files in experiments/, without importing anything."""
    return sorted(module.name for module in pkgutil.iter_modules([str(INSTALLED)]))


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.removeprefix(f"{PACKAGE}."), _installed(), n=1)
    return f"Did you mean {PACKAGE}.{close[0]}? " if close else ""


def describe(name: str) -> Entry:
    """The entry of a module; one that cannot be imported has the error as its summary."""
    short = name.removeprefix(f"{PACKAGE}.")
    try:
        module = import_experiment(name)
        summary, papers = read_summary(module.__doc__ or "")
        presets = {preset: needed_data(config) for preset, config in module.PRESETS.items()}
        return Entry(short, papers, summary, presets, several=hasattr(module, "study"))
    except Exception as error:  # whatever is wrong with one module, the others are listed
        return Entry(short, (), f"cannot be listed: {error}", {})


def read_summary(document: str) -> tuple[str, tuple[str, ...]]:
    """(summary, papers) of a docstring, from its first line: `What it is (Author 2018, arXiv:1810.04805).`"""
    first = document.strip().split("\n")[0]
    papers = tuple(PAPER.findall(first))
    # The citation is the last pair of brackets with a number in it, a year or that of the paper.
    return re.sub(r" \([^()]*\d{4}[^()]*\)(?=[^()]*$)", "", first).rstrip("."), papers


def needed_data(config: Any) -> str:
    """What data a configuration needs: "offline" if it is part of the installed packages."""
    needed = {}
    for path, data in _data_configs(config):
        if data.source.startswith("tfds:"):
            needed[data.source] = None
        elif data.source not in EMBEDDED:
            needed[f"--{path}.source PATH"] = None
    return ", ".join(needed) or OFFLINE


def _data_configs(config: Any, path: str = "") -> Iterator[tuple[str, TokenizerConfig | ImageConfig]]:
    if isinstance(config, TokenizerConfig | ImageConfig) and hasattr(config, "source"):
        yield path, config
    elif dataclasses.is_dataclass(config):
        for field in dataclasses.fields(config):
            name = f"{path}.{field.name}" if path else field.name
            yield from _data_configs(getattr(config, field.name), name)


def list_experiments(names: Sequence[str]) -> list[str]:
    """Lines of a table: experiments, then studies of several runs."""
    entries = [describe(name) for name in names]
    single, several = ([entry for entry in entries if entry.several is kind] for kind in (False, True))
    rows = [("EXPERIMENT", "ARXIV", "WHAT IT IS", "PRESETS (FIRST: DEFAULT) AND THEIR DATA")]
    rows += itertools.chain.from_iterable(map(_cells, single))
    rows += [("", "", "", ""), ("STUDY OF SEVERAL RUNS", "", "", "")]
    rows += itertools.chain.from_iterable(map(_cells, several))
    return columns(rows)


def list_commands(package: str, names: Sequence[str]) -> list[str]:
    """Lines of a table of commands: the first line of the docstring of each module, which is not imported."""
    rows = [("COMMAND", "WHAT IT DOES")]
    for name in names:
        full = f"{package}.{name}"
        source = importlib.util.find_spec(full).loader.get_source(full)
        rows.append((name, ast.get_docstring(ast.parse(source)).split("\n")[0].rstrip(".")))
    return columns(rows)


def _cells(entry: Entry) -> Iterator[tuple[str, ...]]:
    """The rows of an entry, so that no cell is wider than its column."""
    groups = itertools.groupby(entry.presets, entry.presets.get)
    presets = "; ".join(f"{', '.join(names)}: {data}" for data, names in groups)
    summary, presets = (
        textwrap.wrap(text, width, break_on_hyphens=False)
        for text, width in zip((entry.summary, presets), WIDTHS, strict=True)
    )
    return itertools.zip_longest([entry.name], entry.papers, summary, presets, fillvalue="")


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line for each row of cells, all flush left in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
