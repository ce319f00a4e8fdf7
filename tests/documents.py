"""The blocks and the commands that README.md, the guides and docstrings show."""

import re
import shlex
import textwrap
from typing import NamedTuple

from tests import processes

DOCS = processes.ROOT / "docs"


class Shown(NamedTuple):
    """A command as a reader sees it.

    Attributes:
      module: what `python -m` runs.
      words: its arguments.
    """

    module: str
    words: list[str]


def blocks(text: str) -> list[str]:
    """The indented blocks of a document, each without its indentation."""
    found = re.findall(r"\n\n((?:    .*\n|\n(?=    ))+)", text)
    return [textwrap.dedent(block).strip() for block in found]


def commands_of(block: str) -> list[Shown]:
    """The lines of a block that a reader runs as they stand."""
    lines = block.replace("\\\n", " ").splitlines()
    parsed = [shlex.split(line, comments=True) for line in lines if line.startswith("python -m ")]
    return [Shown(words[2], words[3:]) for words in parsed]


def all_commands(text: str) -> list[Shown]:
    """All commands of this project in a document: in blocks, behind other programs such as gcloud, and in sentences."""
    text = re.sub(r"`[^`]*`", lambda code: code[0].replace("\n", " "), text).replace("\\\n", " ")
    found = []
    for module, rest in re.findall(r"python -m ((?:ssl_jax|experiments)\.\w+)([^`\n]*)", text):
        if rest.count("'") % 2:  # of gcloud's --command='...'
            rest = rest.removesuffix("'")
        optional = re.sub(r"\[(.*?)(?:\.\.\.)?\]", r"\1", rest)
        words = shlex.split(optional, comments=True)
        found.append(Shown(module, words[: words.index(">")] if ">" in words else words))
    return found
