"""Entailment by rule: descriptions of parameters in the installed documentation, and statements about them.

The first sentence is a parameter as numpydoc describes it, "axis : int, optional. Axis to sum over."; the second is a
statement such as "axis may be omitted." Its label follows from the type. Statements about which the description says
more than the type does are left out, such as "x can be None." where it goes on with "If None, ...". Each kind of
statement has as many examples of one label as of another, so that a statement by itself says nothing about its label.
"""

import re
from collections import defaultdict

import numpy as np

from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.numpydoc import Parameter
from ssl_jax.data.pretraining_text import HELDOUT_SEED
from ssl_jax.data.pydocs import PyDocs
from ssl_jax.data.section_labels import heldout_documents

RELATIONS = ("entailment", "neutral", "contradiction")

_KINDS = {  # statement: words of the type that make it true
    "{} can be a number.": r"ints?|integers?|floats?|scalars?|numbers?|numeric|complex|double",
    "{} can be a text.": r"str|strings?|'[^']*'|\"[^\"]*\"",
    "{} can be a truth value.": r"bools?|booleans?|true|false",
    "{} can be an array.": r"arrays?|array[_-]?like|ndarrays?|matrix|matrices",
    "{} can be a function.": r"callables?|functions?",
    "{} can be a list or a tuple.": r"lists?|tuples?|sequences?|iterables?",
    "{} can be a dictionary.": r"dicts?|dictionary|dictionaries|mappings?",
    "{} can be None.": r"none",
}
_WORDS = {
    statement: re.compile(rf"(?i)(?<![\w-])(?:{words})(?![\w-])") for statement, words in _KINDS.items()
}
_INSIDE = re.compile(r"(?i)\([^)]*\)|\bof (?:(?!\bor\b)[^,|}])*|\bdtype ?= ?\S+")
"""Parts of a type that are about what is in a list or an array, such as "of ints"."""
_MAY_BE_OMITTED = re.compile(
    r"(?i)\b(?:optional|default|defaults|omitted|if none|not (?:given|specified|provided))\b"
)
LABELLED = 3_000
"""Training pairs, a choice: few labels are what pretraining is for."""
_DESCRIBED = 16
"""Words of a description."""


def parameter_pairs() -> tuple[list[LabelledText], list[LabelledText]]:
    """(training, held-out) pairs; documents are held out as in pretraining."""
    documents = PyDocs()
    hashes, heldout = heldout_documents(documents)
    groups: dict[tuple[bool, str, str], list[LabelledText]] = defaultdict(list)
    seen: set[str] = set()
    for number, docstrings in enumerate(documents.parameters):
        for parameter in (parameter for described in docstrings for parameter in described):
            first = describe(parameter)
            if first in seen:
                continue
            seen.add(first)
            for statement, label in statements(parameter):
                example = LabelledText(
                    first,
                    statement.format(parameter.name),
                    label=label,
                    document=str(hashes[number]),
                    place=f"data source {documents.name!r}, document {number}",
                )
                groups[bool(heldout[number]), statement, label].append(example)
    return _balanced(groups, heldout=False)[:LABELLED], _balanced(groups, heldout=True)


def describe(parameter: Parameter) -> str:
    """A parameter as the first sentence of a pair."""
    words = parameter.description.split()[:_DESCRIBED]
    return f"{parameter.name} : {parameter.kind}. {' '.join(words)}".strip()


def statements(parameter: Parameter) -> list[tuple[str, str]]:
    """(statement, label) pairs about a parameter; "{}" stands for its name.

    A type that names kinds of values contradicts the others. One that names none that are known (`Axes`, `dtype`) says
    nothing about them.
    """
    kind = f"{parameter.type} {parameter.default}" if parameter.default == "None" else parameter.type
    kind = _INSIDE.sub("", kind)
    fitting = {statement for statement, words in _WORDS.items() if words.search(kind)}
    otherwise = "contradiction" if fitting else "neutral"
    found = {statement: "entailment" if statement in fitting else otherwise for statement in _KINDS}
    if "{} can be None." not in fitting and "none" in parameter.description.lower():
        del found["{} can be None."]
    if re.search("(?i)array[_-]?like", kind):  # which a list may be as well
        del found["{} can be a list or a tuple."]
    if parameter.optional:
        found |= {"{} may be omitted.": "entailment", "{} must be given.": "contradiction"}
    elif not _MAY_BE_OMITTED.search(parameter.description):
        found |= {"{} may be omitted.": "contradiction", "{} must be given.": "entailment"}
    return [*found.items()]


def _balanced(
    groups: dict[tuple[bool, str, str], list[LabelledText]], *, heldout: bool
) -> list[LabelledText]:
    """Of each statement as many examples of each of its labels, chosen at random, in a random order."""
    rng = np.random.default_rng(HELDOUT_SEED)
    chosen: list[LabelledText] = []
    for statement in dict.fromkeys(statement for _, statement, _ in groups):
        labels = [label for label in RELATIONS if (heldout, statement, label) in groups]
        least = min(len(groups[heldout, statement, label]) for label in labels) if len(labels) > 1 else 0
        for label in labels:
            group = groups[heldout, statement, label]
            chosen += [group[i] for i in rng.permutation(len(group))[:least]]
    return [chosen[i] for i in rng.permutation(len(chosen))]
