"""Sentences of the installed documentation whose words are tagged: which of them are code.

Authors put code in double backticks. These are removed, and the tags say where they were: B-code for the first word of
a piece of code, I-code for the others, O for prose. Code and prose are cut into words in the same way, so that no word
gives its tag away by its form.
"""

import re
from collections.abc import Iterator

import numpy as np

from ssl_jax.data.docstrings import CODE
from ssl_jax.data.labelled_text import TaggedWords
from ssl_jax.data.pretraining_text import HELDOUT_SEED
from ssl_jax.data.pydocs import PyDocs
from ssl_jax.data.section_labels import heldout_documents

TAGS = ("B-code", "I-code", "O")

LABELLED = 1_000
"""Training sentences, a choice: few labels are what pretraining is for."""

_PARTS = re.compile(rf"{CODE[0]}([^{CODE}]*){CODE[1]}|([^{CODE}]+)")
_WORD = re.compile(r"\w+(?:[.'\-/_]\w+)*|[^\w\s]")
_LONGEST = 80
"""Words of a sentence; longer ones are lists rather than prose."""


def code_words() -> tuple[list[TaggedWords], list[TaggedWords]]:
    """(training, held-out) sentences with code in them; documents are held out as in pretraining."""
    documents = PyDocs()
    hashes, heldout = heldout_documents(documents)
    parts: tuple[list[TaggedWords], list[TaggedWords]] = ([], [])
    for number, sentences in enumerate(documents.marked):
        for sentence in sentences:
            tagged = list(tagged_words(sentence))
            if 1 < len(tagged) <= _LONGEST:
                words, tags = zip(*tagged, strict=True)
                place = f"data source {documents.name!r}, document {number}"
                parts[int(heldout[number])].append(TaggedWords(words, tags, str(hashes[number]), place))
    training, tests = parts
    chosen = np.random.default_rng(HELDOUT_SEED).permutation(len(training))[:LABELLED]
    return [training[i] for i in np.sort(chosen)], tests


def tagged_words(marked: str) -> Iterator[tuple[str, str]]:
    """Yields the words of a sentence, each with its tag.

    Example:
      >>> list(tagged_words(f"Use {CODE[0]}a or b{CODE[1]}."))[1:]
      [('a', 'B-code'), ('or', 'I-code'), ('b', 'I-code'), ('.', 'O')]
    """
    for code, prose in _PARTS.findall(marked):
        words = _WORD.findall(code or prose)
        tags = ["O"] * len(words) if prose else ["B-code", *["I-code"] * len(words)]
        yield from zip(words, tags, strict=False)
