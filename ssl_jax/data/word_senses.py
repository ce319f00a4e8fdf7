"""Sentences with a word in several senses: from the installed documentation, from the examples here, or from a file.

In the documentation, the package that a sentence is from gives the sense away: an "axis" belongs to a plot in
matplotlib, and to an array in numpy. The words and the packages are chosen by hand; of their sentences, all choices are
by rule. Documents are held out as in pretraining on `pydocs`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ssl_jax.data.pydocs import PyDocs
from ssl_jax.data.section_labels import heldout_documents
from ssl_jax.data.tsv import Tsv
from ssl_jax.errors import UserError

PYDOCS, EXAMPLES = "pydocs", "examples"
"""Sources that have a name."""
EXAMPLES_FILE = Path(__file__).with_name("word_senses.tsv")
WORDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "axis": {"plot": ("matplotlib", "mpl_toolkits"), "array": ("numpy", "scipy", "jax")},
    "event": {"interface": ("matplotlib",), "log": ("tensorboardX",)},
    "key": {"keyboard": ("matplotlib",), "mapping": ("sortedcontainers", "tensorflow_datasets")},
    "path": {"files": ("orbax", "fsspec", "tensorflow_datasets"), "contraction": ("opt_einsum",)},
    "process": {"program": ("orbax", "jax"), "procedure": ("scipy",)},
    "step": {"training": ("orbax", "tensorboardX"), "algorithm": ("scipy",)},
    "transform": {"coordinates": ("matplotlib", "mpl_toolkits"), "estimator": ("sklearn",)},
    "tree": {"estimator": ("sklearn",), "containers": ("jax", "flax", "optax")},
}
"""Of the documentation: the packages of each sense of a word."""
LEAST = 2
"""Sentences of a sense, at least, so that there are pairs of it."""
_SHORTEST, _LONGEST = 5, 40
"""Words of a sentence of the documentation."""


class Occurrence(NamedTuple):
    """A word in a sentence.

    Attributes:
      text: the sentence.
      sense: of the word.
      start, end: where the word is in it, in characters.
    """

    text: str
    sense: str
    start: int
    end: int


Occurrences = Mapping[str, Sequence[Occurrence]]
"""By word, sorted by the senses in the order in which these come first."""


def find_word(text: str, word: str) -> tuple[int, int] | None:
    """Where a word occurs first in a text, in upper or lower case but not as a part of another word; None if nowhere.

    Example:
      >>> find_word("Pineapple, an Apple", "apple")
      (14, 19)
    """
    found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE)
    return found.span() if found else None


def documented_words(per_sense: int) -> Occurrences:
    """Sentences of held-out documentation, equally many of each sense of a word.

    The documents of the packages of a sense take turns: the first sentence with the word of each, then the second of
    each, and so on. A word that has fewer than two sentences of a sense, in the packages that are installed, is left out.

    Args:
      per_sense: sentences of each sense, at most.

    Raises:
      UserError: no word is left.
    """
    documents = PyDocs()
    _, heldout = heldout_documents(documents)
    packages: dict[str, list[Sequence[str]]] = {}
    for number, module in enumerate(documents.modules):
        if heldout[number]:
            packages.setdefault(module.split(".")[0], []).append(documents[number])
    words = {}
    for word, senses in WORDS.items():
        found = {
            sense: list(_in_turns([document for name in names for document in packages.get(name, [])], word))
            for sense, names in senses.items()
        }
        count = min(per_sense, *map(len, found.values()))
        if count >= LEAST:
            words[word] = [
                _occurrence(text, sense, word) for sense, texts in found.items() for text in texts[:count]
            ]
    if not words:
        raise UserError(
            f"the held-out documentation of the installed packages has none of the words {', '.join(WORDS)} in two "
            "senses; give sentences of your own with --sentences FILE."
        )
    return words


def read_occurrences(files: Sequence[str], word: str = "") -> Occurrences:
    """Reads sentences from .tsv files with the columns sense and text, and word if there are several words.

    Args:
      files: paths; "examples" for the sentences here.
      word: that of the files without a column of words.

    Raises:
      UserError: a file or a column is not there, a sentence does not have its word, or a word has one sense alone or
        fewer than two sentences of a sense.
    """
    words: dict[str, list[Occurrence]] = {}
    for file in files:
        table = Tsv(EXAMPLES_FILE if file == EXAMPLES else file)
        if "word" not in table.columns and not word:
            raise UserError(f"{file}: has no column word; add one, or name the word of the file with --word.")
        names = table.column("word") if "word" in table.columns else [word] * len(table)
        rows = zip(names, table.column("sense"), table.column("text"), table.line_numbers, strict=True)
        for name, sense, text, line in rows:
            if not name.strip() or not sense.strip():
                raise UserError(f"{file}, line {line}: no word or no sense; expected both.")
            if find_word(text, name) is None:
                raise UserError(
                    f"{file}, line {line}: the word {name!r} is not in the sentence {text[:80]!r}; expected it there, "
                    "not only as a part of another word."
                )
            words.setdefault(name, []).append(_occurrence(text, sense, name))
    for name, occurrences in words.items():
        senses = [each.sense for each in occurrences]
        order = list(dict.fromkeys(senses))
        few = [f"{sense} ({senses.count(sense)})" for sense in order if senses.count(sense) < LEAST]
        if len(order) < 2 or few:
            raise UserError(
                f"{', '.join(files)}: the word {name!r} has {'only the sense ' if len(order) < 2 else ''}"
                f"{', '.join(order if len(order) < 2 else few)}; expected at least two senses, with at least {LEAST} "
                "sentences of each, so that there are pairs of the same sense and of different ones."
            )
        occurrences.sort(key=lambda each, order=order: order.index(each.sense))
    return words


def _in_turns(documents: Sequence[Sequence[str]], word: str) -> Iterator[str]:
    """Yields the sentences with a word, the first one of each document, then the second of each, without repeats."""
    found = [
        [text for text in document if _SHORTEST <= len(text.split()) <= _LONGEST and find_word(text, word)]
        for document in documents
    ]
    for turn in range(max(map(len, found), default=0)):
        yield from dict.fromkeys(texts[turn] for texts in found if len(texts) > turn)


def _occurrence(text: str, sense: str, word: str) -> Occurrence:
    span = find_word(text, word)
    assert span is not None, "the caller has found the word"
    return Occurrence(text, sense, *span)
