"""Sentences of the installed documentation, labelled by the section of the docstring that they are from.

The labels are free: the header above a sentence gives it away, and is not part of the text. Documents are held out as
in pretraining on `pydocs`, so that neither a pretrained model nor a classifier has seen those that it is scored on.
"""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import document_hash, is_heldout
from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.pretraining_text import HELDOUT_SEED, TextConfig
from ssl_jax.data.pydocs import PyDocs

SECTIONS = ("summary", "parameters", "returns", "notes")
LABELLED = 250
"""Training sentences of each section, a choice: few labels are what pretraining is for. With all 69,000 sentences, a
tf-idf regression is better than a small BERT."""
_OF_HEADER = {
    "": "summary",
    **dict.fromkeys(
        ("parameters", "other parameters", "args", "arguments", "keyword arguments"), "parameters"
    ),
    **dict.fromkeys(("returns", "return", "yields", "return value"), "returns"),
    **dict.fromkeys(("notes", "note"), "notes"),
}


def heldout_documents(documents: PyDocs) -> tuple[np.ndarray, np.ndarray]:
    """(hashes uint64 `[documents]`, bool `[documents]`: whether pretraining holds the document out)."""
    hashes = np.frombuffer(b"".join(document_hash(document) for document in documents), "<u8")
    return hashes, is_heldout(hashes, TextConfig.heldout_share, HELDOUT_SEED, documents.name)


def section_sentences() -> tuple[list[LabelledText], list[LabelledText]]:
    """(training, held-out) sentences below one of the headers, of documents that have more than one kind of section.

    Sentences that differ in numbers and signs alone are there once. Of each section there are equally many, `LABELLED`
    at most for training, so that the most frequent ones cannot be guessed.
    """
    documents = PyDocs()
    hashes, heldout = heldout_documents(documents)
    seen: set[str] = set()
    parts: tuple[list[LabelledText], list[LabelledText]] = ([], [])
    for number in range(len(documents)):
        labels = [_OF_HEADER.get(section) for section in documents.sections[number]]
        if len({*labels} - {None}) < 2:
            continue
        for text, label in zip(documents[number], labels, strict=True):
            key = "".join(filter(str.isalpha, text)).lower()
            if label is not None and key not in seen:
                seen.add(key)
                place = f"data source {documents.name!r}, document {number}"
                example = LabelledText(text, label=label, document=str(hashes[number]), place=place)
                parts[int(heldout[number])].append(example)
    training, tests = parts
    return balanced(training, LABELLED), balanced(tests)


def balanced(examples: Sequence[LabelledText], most: int | None = None) -> list[LabelledText]:
    """As many examples of each label as there are of the rarest, chosen at random, in their order.

    Args:
      examples: with labels.
      most: of each label.
    """
    labels = np.array([example.label for example in examples])
    counts = np.unique(labels, return_counts=True)[1]
    each = min([*counts, *([] if most is None else [most])])
    shuffled = np.random.default_rng(HELDOUT_SEED).permutation(len(examples))
    chosen = [shuffled[labels[shuffled] == label][:each] for label in np.unique(labels)]
    return [examples[i] for i in np.sort(np.concatenate(chosen))]
