"""The parameters that docstrings in numpydoc's style describe: their names, types and descriptions."""

import re
from typing import NamedTuple

_UNDERLINE = re.compile(r"^-{3,}$")
_SECTIONS = ("parameters", "other parameters")
_ENTRY = re.compile(r"^\*{0,2}(\w{1,30}) ?: (\S.{1,98})$")
_ROLE = re.compile(r":[\w:]+:`~?([^`<]+)`")
_DEFAULT = re.compile(
    r"(?i)\bdefault(?:s to|(?: value)? is|:|=)? ?[:=]? ?"
    r"(?P<value>'[^']+'|\"[^\"]+\"|[-\w.]++(?:\([^()]*\)[\w.]*+)?)(?=\W*$|[,;)\]}])"  # not "default the same as x"
)


class Parameter(NamedTuple):
    """A parameter as it is described.

    Attributes:
      name: such as "axis".
      kind: the text after the colon, such as "int or None, optional".
      description: one line; "" if there is none.
    """

    name: str
    kind: str
    description: str

    @property
    def optional(self) -> bool:
        """Whether it may be omitted, by its kind."""
        return "optional" in self.kind.lower() or "default" in self.kind.lower()

    @property
    def type(self) -> str:
        """The kind without "optional" and without the default."""
        return re.split(r"(?i),? *\(?(?:optional|default)", self.kind)[0].strip(" ,")

    @property
    def default(self) -> str | None:
        """The default that the kind states; None if it states none."""
        found = _DEFAULT.search(self.kind)
        return found["value"].strip(".,") or None if found else None


def parameters(docstring: str) -> list[Parameter]:
    """The parameters of a docstring, in its order.

    Args:
      docstring: text whose indentation has been removed.
    """
    found: list[Parameter] = []
    inside = False
    lines = docstring.splitlines()
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if _UNDERLINE.match(following.strip()) and line.strip():
            inside = line.strip().lower() in _SECTIONS
        elif inside and (entry := _ENTRY.match(line)):
            described = _described(lines[number + 1 :])
            found.append(Parameter(entry[1], _plain(entry[2]), _plain(described)))
    return found


def _described(lines: list[str]) -> str:
    """The first paragraph of the indented lines."""
    words: list[str] = []
    for line in lines:
        if not line.strip() or not line.startswith(" ") or line.strip().startswith((".. ", ">>>")):
            break
        words += line.split()
    return " ".join(words)


def _plain(text: str) -> str:
    text = _ROLE.sub(lambda match: match[1].rsplit(".", 1)[-1], text)
    return " ".join(text.replace("`", "").replace("**", "").split())
