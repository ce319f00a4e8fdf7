"""README.md says what is there: its code is quoted from the files, and it lists every experiment and command."""

import ast
import re
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUOTES = re.findall(r"<!-- (\w+) of (\S+) -->\n\n((?:(?:    .*)?\n)+)", README)
"""(function, file, indented code) of each quotation."""


def source_of(function: str, file: str) -> str:
    """The source of a function at the top level of a file."""
    text = (ROOT / file).read_text()
    (node,) = (n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef) and n.name == function)
    return ast.get_source_segment(text, node)


def test_both_tutorials_are_quoted():
    assert {file for _, file, _ in QUOTES} >= {"experiments/minimal.py", "experiments/barlow_twins.py"}


@pytest.mark.parametrize(("function", "file", "code"), QUOTES, ids=[quote[0] for quote in QUOTES])
def test_code_is_quoted_as_it_stands_in_its_file(function, file, code):
    assert textwrap.dedent(code).strip() == source_of(function, file)


def test_every_experiment_is_in_the_table():
    rows = re.findall(r"^\| (`.*?`) \|", README, flags=re.MULTILINE)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    experiments = {file.stem for file in (ROOT / "experiments").glob("*.py")} - {"__init__", "__main__"}
    assert listed == experiments, "add or remove its row in the table of README.md"


def test_every_command_exists():
    commands = set(re.findall(r"python -m (ssl_jax\.\w+|experiments\.\w+)", README))
    own = {"experiments.mine", "experiments.mine_views"}  # which the reader writes
    assert {name for name in commands if find_spec(name) is None} == {*own, "experiments.NAME"}
