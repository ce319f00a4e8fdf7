"""Extracts the prose of docstrings in reStructuredText, numpydoc and Google style."""

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

_UNDERLINE = re.compile(r"^\s*([-=~^*+#\"'`.:_])\1{2,}\s*$")
_TABLE = re.compile(r"^\s*(?:[+|].*[+|]|=+(?:\s+=+)+|-+(?:\s+-+)+)\s*$")
_DIRECTIVE = re.compile(r"^\.\.\s+([\w:-]+)::")
_FIELD = re.compile(r"^:\w[^:]*:\s*")
_PROSE_DIRECTIVES = {
    "note",
    "warning",
    "seealso",
    "tip",
    "important",
    "caution",
    "admonition",
    "attention",
    "hint",
}
_HEADER = re.compile(r"^[A-Z]\w*(?: \w+){0,2}:$")
_NAME_AND_TYPE = re.compile(r"^[*\w\[\]., {}'\"`|-]{1,60}\s:(?:\s|$)")  # numpydoc: `axis : int, optional`
_ARGUMENT = re.compile(
    r"^[*`]*\w[\w.*, `]{0,40}(?:\s?\([^)]*\))?\s?:\s+(?=\S)"
)  # Google: `axis (int): the axis`
_NAME = re.compile(r"[\w.]+")
_BULLET = re.compile(r"^(?:[-*+•]|\(?\d+[.)]|\(?[a-z]\))\s+")
_FIELDS = {"param": "parameters", "return": "returns", "raise": "raises"}
"""Section of a field, by its kind without a plural s."""
_LISTS_OF_NAMES = {"see also", "references", "routine listings", "attributes", "methods"}

# The time of each pattern is proportional to the length of the text, also where it does not match: no part of a text is
# read again for each place that a match could begin at.
_LINK = re.compile(r"`([^`<]+)<[^>`]*>`_*")
_ROLE = re.compile(r"(?<![\w:.+-])([\w.+-]*):[\w:.+-]+:`([^`<]+)(<[^>`]*>)?`")
_LITERAL = re.compile(r"``(.+?)``|`~?([^`]+)`_{0,2}|\*\*(\S.*?)\*\*|(?<!\w)\*(\S[^*]*)\*(?!\w)")
_MARKDOWN_LINK = re.compile(r"\[([^\]]+)(?:\](?:\([^)]*(\)|\Z))?|\Z)")  # group 2: it is a link
_CODE = re.compile(r"``(.+?)``")
_CITATION = re.compile(r"(?<!\s)\s*\[(?:\d+|[A-Z]\w*)\]_+")
_URL = re.compile(r"<?https?://\S+")

CODE = "\ue000\ue001"
"""Characters without a meaning of their own, which mark the begin and the end of code."""

_MIN_WORDS = 4
_MIN_LETTER_SHARE = 0.75  # of the characters


class Paragraph(NamedTuple):
    """A paragraph of prose.

    Attributes:
      text: one line without markup.
      section: the header that it is below, in lower case and without a colon; "" before the first header.
      marked: the same text with `CODE[0]` before and `CODE[1]` after each ``literal``; "" if there is none.
    """

    text: str
    section: str
    marked: str = ""


class _Block(NamedTuple):
    """Lines of one paragraph, and the header that it is below."""

    lines: list[str]
    section: str


def prose(docstring: str) -> list[str]:
    """The paragraphs of prose in a docstring, each as one line without markup.

    Args:
      docstring: text whose indentation has been removed.
    """
    return [paragraph.text for paragraph in paragraphs(docstring)]


def paragraphs(docstring: str) -> list[Paragraph]:
    """As `prose`, with the section of each paragraph. Fields such as `:param x:` have the section of their kind."""
    found = (_paragraph(" ".join(lines), section) for lines, section in _blocks(docstring.splitlines()))
    return [paragraph for paragraph in found if _is_prose(paragraph.text)]


def _paragraph(text: str, section: str) -> Paragraph:
    marked = _CODE.sub(rf"{CODE[0]}\1{CODE[1]}", text)
    return Paragraph(_plain(text), section, _plain(marked) if marked != text else "")


def _blocks(lines: list[str]) -> list[_Block]:
    """Groups the lines into paragraphs, without headers, names of arguments and lists of names."""
    blocks: list[_Block] = [_Block([], "")]
    section = ""

    def begin(of: str | None = None) -> None:
        blocks.append(_Block([], section if of is None else of))

    in_names = False
    indent_of_block = 0
    readable = [*_without_code(lines), ""]
    for line, following in itertools.pairwise(readable):
        text, indent = line.strip().removeprefix("> "), _indent(line)
        if not text:
            begin()
            continue
        if _UNDERLINE.match(following) or (_HEADER.match(text) and indent == 0):
            section = text.rstrip(":").lower()
            in_names = section in _LISTS_OF_NAMES
            begin()
            continue
        if _UNDERLINE.match(line) or (in_names and indent == 0):
            continue
        described = following.strip() and _indent(following) > indent
        if (_NAME_AND_TYPE.match(text) and not text.endswith(".")) or (described and _is_name_alone(text)):
            begin()
            continue
        if field := _FIELD.match(text):
            begin(_FIELDS.get(field[0].strip(" :").split()[0].rstrip("s"), "fields"))
            text = _FIELD.sub("", text) if text.startswith((":param", ":return", ":raise")) else ""
        elif _ARGUMENT.match(text) and (indent > 0 or indent < indent_of_block):
            begin()
            text = _ARGUMENT.sub("", text)
        elif _BULLET.match(text) or not _continues(blocks[-1].lines, indent, indent_of_block):
            begin()
            text = _BULLET.sub("", text)
        indent_of_block = indent
        blocks[-1].lines.append(text)
    return [block for block in blocks if block.lines]


def _without_code(lines: list[str]) -> Iterator[str]:
    """Yields the lines outside code, examples, tables and directives; a blank line replaces each omitted part."""
    skip_deeper: int | None = None  # lines indented deeper than this belong to the omitted part
    in_fence = to_blank_line = False
    for line in lines:
        text, indent = line.strip(), _indent(line)
        fence = text.startswith(("```", "~~~"))
        in_fence ^= fence
        to_blank_line = bool(text) and (
            to_blank_line or text.startswith(">>>") or _TABLE.match(line) is not None
        )
        if not text or in_fence or fence or to_blank_line:
            yield ""
            continue
        if skip_deeper is not None and indent > skip_deeper:
            continue
        skip_deeper = None
        if text.startswith(".. "):
            directive = _DIRECTIVE.match(text)
            skip_deeper = indent if directive is None or directive[1] not in _PROSE_DIRECTIVES else None
            yield ""
        elif text.endswith("::"):
            skip_deeper = indent
            yield line.rstrip()[:-1]
        else:
            yield line


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _continues(block: list[str], indent: int, indent_of_block: int) -> bool:
    """Whether a line continues the paragraph: same indent, or a deeper one while the sentence is unfinished."""
    return indent == indent_of_block or (
        bool(block) and indent > indent_of_block and not block[-1].endswith((".", ":"))
    )


def _plain(text: str) -> str:
    text = _LINK.sub(lambda match: _before_target(match[1]), text)
    text = _ROLE.sub(_name_of_role, text)
    text = _LITERAL.sub(lambda match: next(group for group in match.groups() if group is not None), text)
    text = _MARKDOWN_LINK.sub(lambda match: match[1] if match[2] else match[0], text)
    text = _URL.sub("", _CITATION.sub("", text))
    text = " ".join(text.replace("\\", "").replace("`", "").split())
    return text[:1].upper() + text[1:]


def _before_target(text: str) -> str:
    """The text of a link, without the space before its target; at least one character."""
    return text.rstrip() or text[0]


def _name_of_role(match: re.Match[str]) -> str:
    before, name, target = match.groups()
    if name[0] in "~!." and len(name) > 1:
        name = name[1:]
    if target:
        name = _before_target(name)
    return before + name.rsplit(".", 1)[-1]


def _is_name_alone(text: str) -> bool:
    """Whether a line is one name, perhaps with its arguments: "name", "* `name`", "name(a, b):"."""
    first = _NAME.search(text)
    if first is None:
        return False
    bracket = text.find("(", first.start())
    with_arguments = bracket >= 0 and text.endswith("):") and bracket < len(text) - 2
    names = _NAME.findall(text[:bracket] if with_arguments else text)
    return sum(name.strip(".") != "" for name in names) <= 1


def _is_prose(text: str) -> bool:
    """Whether a text has enough words and letters and ends like a sentence, unlike "float, optional" or a formula."""
    if len(text.split()) < _MIN_WORDS or "%(" in text or "{{" in text:
        return False
    letters = sum(character.isalpha() or character == " " for character in text)
    return letters >= _MIN_LETTER_SHARE * len(text) and text.rstrip("\"')")[-1:] in {".", "!", "?", ":"}
