"""What the options of a command are, for its short help and for finding the preset among them."""

import argparse
import itertools
import re
import textwrap
from collections.abc import Mapping, Sequence

WIDTH = 80
NAMES = 30
"""Columns of the names, beside which the meaning stands."""
LONGEST = 150
"""Characters of a meaning."""
SELDOM = re.compile(r"--(hosts|profile|timeouts\..*|probe_examples)$")
"""Options without a section that matter seldom."""
OFTEN = (
    "data.source",
    "data.heldout_source",
    "data.tokenizer",
    "data.format",
    "data.canvas",
    "model.layers",
    "model.width",
    "encoder.blocks",
    "encoder.width",
    "train.batch_size",
    "train.micro_batches",
    "train.seed",
    "train.eval_every",
    "train.save_every",
    "optimizer.name",
    "optimizer.weight_decay",
    "schedule.learning_rate",
    "schedule.warmup_steps",
    "schedule.warmup_share",
    "mesh.fsdp",
)
"""Fields in sections that matter often, of those that an experiment has."""
EACH = "each"
"""The section of the settings that all runs of a study share."""

Options = Mapping[str, argparse.Action]
"""By name, such as "--train.seed"."""


def options_of(parser: argparse.ArgumentParser) -> Options:
    """The options of a command."""
    return {name: action for action in parser._actions for name in action.option_strings}


def loose_words(arguments: Sequence[str], options: Options) -> list[int]:
    """The positions of the words on a command line that are neither an option nor a value of one.

    A word after an option that takes any number of values is one of these. An unknown option is taken to have one.
    """
    loose, position = [], 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if not word.startswith("-"):
            loose.append(position - 1)
        elif "=" not in word:
            action = options.get(f"--{word.lstrip('-').replace('-', '_')}")
            values = 1 if action is None else action.nargs
            if isinstance(values, int):
                position += values
            else:
                while position < len(arguments) and not arguments[position].startswith("--"):
                    position += 1
    return loose


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """The value of an option on a command line, the last one; None if it is not given."""
    value = None
    for word, following in itertools.zip_longest(arguments, arguments[1:]):
        if word == name:
            value = following
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def short_help(program: str, title: str, presets: Sequence[str], preset: str, options: Options) -> str:
    """The help with the fields that matter most, in lines of 80 columns.

    Args:
      program: the command, such as "python -m experiments.bert".
      title: what the command does, in a sentence.
      presets: names; the first is the default.
      preset: the one whose values are shown.
      options: of the command.
    """
    first, *others = presets
    named = f"Presets: {', '.join([f'{first} (default)', *others])}"
    fields = [name for name in options if not re.match("-h$|--help$|--no_", name)]
    shown = [name for name in fields if "." not in name and not SELDOM.match(name)]
    often = [*OFTEN, *(f"{EACH}.{name}" for name in ("steps", *OFTEN))]
    shown += [f"--{name}" for name in often if f"--{name}" in options]
    lines = [
        f"usage: {program} [PRESET] [--FIELD VALUE ...]",
        "",
        *textwrap.wrap(title, WIDTH),
        "",
        *textwrap.wrap(named, WIDTH, subsequent_indent="  "),
        "",
        f"The fields that matter most, and their values in preset {preset}:",
        "",
    ]
    for name in shown:
        lines += _entry(name, options[name])
    lines += ["", f"--help-all shows all {len(fields)} fields, and examples."]
    return "\n".join(lines)


def _entry(name: str, action: argparse.Action) -> list[str]:
    """The lines of an option: its name, the first sentence of its meaning, what it may be, and its value."""
    meaning, _, value = " ".join((action.help or "").replace("%%", "%").split()).rpartition(" (default: ")
    sentence = re.split(r"(?<=[^.]\.) ", meaning, maxsplit=1)[0]
    sentence = textwrap.shorten(sentence, LONGEST, placeholder=" ...")
    value = "" if value == "None)" else f" [{value.removesuffix(')')}]"
    kind = re.sub(r"\{None\}\||\[|[:>].*", "", action.metavar) if isinstance(action.metavar, str) else ""
    head = f"  {name} {kind}" if action.nargs != 0 and len(f"  {name} {kind}") <= NAMES else f"  {name}"
    listed = re.fullmatch(r"\{[^{}]+\}", kind) and kind not in head
    choices = f" {kind.replace(',', ', ')}" if listed else ""
    text = textwrap.wrap(f"{sentence}{choices}{value}", WIDTH - NAMES - 2)
    rows = [f"{'':{NAMES + 2}}{line}" for line in text]
    if len(head) > NAMES:
        return [head, *rows]
    return [f"{head:{NAMES + 2}}{text[0]}", *rows[1:]]


def wrapped(document: str) -> str:
    """A docstring in lines of 80 columns. The comment of an indented command goes above it where there is no room."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", document.strip("\n")):
        lines += [""] if lines else []
        if not re.search(r"^\s", paragraph, re.MULTILINE):
            lines += textwrap.wrap(paragraph, WIDTH, break_on_hyphens=False)
            continue
        for line in paragraph.split("\n"):
            command, sign, comment = line.rstrip().partition(" # ")
            indent = line[: len(line) - len(line.lstrip())]
            if len(line) > WIDTH and sign:
                lines += [f"{indent}# {comment}", command.rstrip()]
            else:
                lines += textwrap.wrap(
                    line, WIDTH, subsequent_indent=f"{indent}    ", break_on_hyphens=False
                ) or [""]
    return "\n".join(lines)
