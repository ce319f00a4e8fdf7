"""Commands in README.md, the guides and the docstrings of experiments are read without being run.

So a renamed option or preset fails here where the documented run needs a pod, data or weights that are not at hand.
"""

import dataclasses
import functools
import importlib
import re
from collections.abc import Iterator
from types import ModuleType

import pytest

from ssl_jax import cli, plan
from ssl_jax.__main__ import COMMANDS
from ssl_jax.runs.listing import experiment_names
from tests import processes
from tests.documents import DOCS, Shown, all_commands

PLACEHOLDERS = {"NAME", "COMMAND"}
OWN = {"mine", "mine_views"}
"""Experiments that the reader writes; `test_guides` runs them."""
OTHER_PROGRAMS = {"help", "help-all", "setup_file", "sdk_container_image"}
"""Options in sentences that have no field: of the help, and of Apache Beam."""
DOCUMENTS = [processes.ROOT / "README.md", processes.ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]


def read(shown: Shown) -> None:
    """What the command does before it opens anything."""
    package, _, name = shown.module.partition(".")
    if package == "ssl_jax" and name == "plan":
        experiment, *words = shown.words
        presets = importlib.import_module(experiment).PRESETS
        cli.parse(words, presets, "python -m ssl_jax.plan", options=lambda workdir: plan.Options())
        return
    module = importlib.import_module(shown.module)
    if package == "ssl_jax":
        of_images = name == "prepare" and shown.words[0] == "images"
        kind = module.ImageArguments if of_images else _arguments(module)[0]
        cli.read_arguments(kind, shown.words[of_images:], prog=name)
        return
    options = {word for word in shown.words if word.startswith("--")}
    if options <= {"--workdir", "--init_from"}:  # half of all commands: nothing but the preset can be wrong
        assert not shown.words or shown.words[0] in {*module.PRESETS, *options}
        return
    kind = cli.StudyOptions if hasattr(module, "study") else cli.RunOptions
    cli.parse(shown.words, module.PRESETS, f"python -m {shown.module}", options=kind)


def _arguments(module: ModuleType) -> list[type]:
    """The dataclasses of the options of a command."""
    names = ("Arguments", "ImageArguments", "Options")
    return [getattr(module, name) for name in names if hasattr(module, name)]


def readable(shown: Shown) -> bool:
    """Whether it is a whole command, of files that need not be there."""
    names = {word.rpartition(".")[2] for word in (shown.module, *shown.words)}
    template = names & (PLACEHOLDERS | OWN)
    mentioned = not shown.words and shown.module.startswith("ssl_jax.")
    opens = {"--resume", "--config", "--help"} & {*shown.words}  # `test_guides` runs these
    return not (template or mentioned or opens)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_commands_of_a_document(document):
    for shown in filter(readable, all_commands(document.read_text())):
        read(shown)


@pytest.mark.parametrize("name", experiment_names())
def test_commands_of_a_docstring(name):
    for shown in filter(readable, all_commands(importlib.import_module(name).__doc__)):
        read(shown)


def names_of(value: object, path: str = "") -> Iterator[str]:
    """The names of all fields, such as `train.batch_size` and `phases.0.length`."""
    parts = {}
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            made = field.default_factory
            default = None if made is dataclasses.MISSING else made()
            parts[field.name] = getattr(value, field.name, default)
    elif isinstance(value, tuple):
        parts = {str(place): part for place, part in enumerate(value)}
    for name, part in parts.items():
        yield path + name
        yield from names_of(part, f"{path}{name}.")


@functools.cache
def known_options() -> frozenset[str]:
    """The options of all commands and experiments."""
    commands = [importlib.import_module(f"ssl_jax.{name}") for name in COMMANDS]
    names = {*names_of(cli.RunOptions), *names_of(plan.Options)}
    for module in commands:  # the options of their sections have no prefix
        names |= {name.rpartition(".")[2] for kind in _arguments(module) for name in names_of(kind)}
    for name in experiment_names():
        for preset in importlib.import_module(name).PRESETS.values():
            names |= {*names_of(preset)}
    return frozenset(names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_options_in_sentences_exist(document):
    named = set(re.findall(r"`--([\w.-]+)", document.read_text()))
    assert named - OTHER_PROGRAMS <= known_options()
