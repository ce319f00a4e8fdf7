"""Labelled text: the examples of fine-tuning, the names of their labels, and held-out sets by hash.

Labels are names (texts). Their numbers are given by `LabelSet`, in one order for all files of a task, because data sets
number the same labels differently.
"""

import collections
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from ssl_jax.errors import UserError

SHOWN_LABELS = 20
"""Labels that are listed in a message, at most."""


class LabelledText(NamedTuple):
    """A sentence, or a pair of sentences, with a class or a score.

    Attributes:
      text: the first sentence.
      second: the second sentence; None for a task on single sentences.
      label: name of the class; None if it is not known, or in a task of scores.
      score: None if it is not known, or in a task of classes.
      document: what belongs together when a set is divided; "" for nothing but the sentences themselves.
      place: where the example is from, for messages.
    """

    text: str
    second: str | None = None
    label: str | None = None
    score: float | None = None
    document: str = ""
    place: str = ""


class TaggedWords(NamedTuple):
    """A sentence of words, each with a tag.

    Attributes:
      words: at least one.
      tags: one for each word; None if they are not known.
      document: as in `LabelledText`.
      place: likewise.
    """

    words: tuple[str, ...]
    tags: tuple[str, ...] | None = None
    document: str = ""
    place: str = ""


class Answer(NamedTuple):
    """An answer, as a part of its context.

    Attributes:
      text: equal to `context[start : start + len(text)]`.
      start: the first character.
    """

    text: str
    start: int


class Question(NamedTuple):
    """A question and the text that has its answer.

    Attributes:
      id: distinct within a file.
      question: its text.
      context: the text.
      answers: equally right ones, the first of which is trained on; empty if the text has no answer; None if they are
        not known.
      document: as in `LabelledText`: the title of the article.
      place: likewise.
    """

    id: str
    question: str
    context: str
    answers: tuple[Answer, ...] | None = None
    document: str = ""
    place: str = ""


Example = TypeVar("Example", LabelledText, TaggedWords, Question)


class LabelSet(NamedTuple):
    """The labels of a task. The number of a label is its place in `names`.

    Attributes:
      names: of the labels, sorted unless the task has an order of its own.
      counts: how often each occurs in the training data.
      source: name of the training data, for messages.
    """

    names: tuple[str, ...]
    counts: tuple[int, ...]
    source: str

    def __str__(self) -> str:
        listed = [f"{name} {count:,}" for name, count in zip(self.names, self.counts, strict=True)]
        more = f", and {len(listed) - SHOWN_LABELS} more" if len(listed) > SHOWN_LABELS else ""
        return f"{len(listed)} labels: {', '.join(listed[:SHOWN_LABELS])}{more}"

    def ids(self, examples: Sequence[LabelledText]) -> np.ndarray:
        """The number of each example's label, int32 `[examples]`; -1 where it is not known.

        Raises:
          UserError: a label does not occur in the training data; the message names its place.
        """
        return np.fromiter(self._numbers((e.label, e.place) for e in examples), np.int32, len(examples))

    def tag_ids(self, sentences: Sequence[TaggedWords]) -> np.ndarray:
        """The number of the tag of each word of all sentences, int32 `[words]`; -1 where it is not known.

        Raises:
          UserError: as `ids`.
        """
        tags = (
            (tag, sentence.place)
            for sentence in sentences
            for tag in sentence.tags or (None,) * len(sentence.words)
        )
        return np.fromiter(self._numbers(tags), np.int32)

    def _numbers(self, labels: Iterable[tuple[str | None, str]]) -> Iterator[int]:
        numbers: dict[str | None, int] = {name: number for number, name in enumerate(self.names)} | {None: -1}
        for name, place in labels:
            if name not in numbers:
                raise UserError(
                    f"{place}: the label {name!r} does not occur in the training data {self.source!r}, which has "
                    f"{', '.join(self.names[:SHOWN_LABELS])}. Correct the label, or add examples of it to the training "
                    "data."
                )
            yield numbers[name]


def label_set(
    examples: Sequence[LabelledText] | Sequence[TaggedWords], source: str, names: Sequence[str] = ()
) -> LabelSet:
    """Collects and counts the labels of training data.

    Args:
      examples: for training.
      source: their name in messages.
      names: the labels of the task in its own order, which numbers them; empty to sort the labels that occur. For tags
        of named entities, sorting has the order B-X, ..., I-X, ..., O.

    Raises:
      UserError: an example has no label, the label is not among `names`, or all examples have the same label, from
        which nothing can be learned.
    """
    counts: collections.Counter[str] = collections.Counter()
    for example in examples:
        found = (example.label,) if isinstance(example, LabelledText) else example.tags
        if found is None or None in found:
            raise UserError(f"{example.place}: it has no label; training needs one for every example.")
        if names and not set(found) <= set(names):
            [unknown, *_] = sorted(set(found) - set(names))
            raise UserError(f"{example.place}: the label {unknown!r}; expected one of {', '.join(names)}.")
        counts.update(found)
    if len(counts) < 2:
        only = f"only the label {next(iter(counts))!r}" if counts else "no label"
        raise UserError(
            f"data source {source!r}: the training data has {only}; expected at least two labels. Check the label "
            "column, or give more data."
        )
    names = tuple(names or sorted(counts))
    return LabelSet(names, tuple(counts[name] for name in names), source)


def scores(examples: Sequence[LabelledText]) -> np.ndarray:
    """The scores, float32 `[examples]`; NaN where they are not known."""
    return np.array(
        [math.nan if example.score is None else example.score for example in examples], np.float32
    )


def split_by_hash(
    examples: Sequence[Example], heldout_share: float, seed: int = 0, fold: int = 0
) -> tuple[list[Example], list[Example]]:
    """Divides examples into (training, held-out) by a hash of their documents.

    Examples of one document are in the same part, and so are examples of the same text. Other examples in the file and
    their order make no difference.

    Args:
      examples: at least two documents.
      heldout_share: share of the documents to hold out, above 0 and below 1.
      seed: chooses another split.
      fold: 0 for the first share, 1 for the next one, and so on: with a share of 1 / folds, each document is held out
        in exactly one fold.

    Raises:
      UserError: a part is empty.
    """
    first, last = fold * heldout_share, (fold + 1) * heldout_share
    if last > 1 + 1e-9:
        raise UserError(
            f"fold {fold}: there are {int(1 / heldout_share + 1e-9)} folds of {heldout_share:g} of the documents."
        )
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in examples:
        parts[first <= _place(_document(example), seed) < last].append(example)
    for part, name in zip(parts, ("to train on", "to hold out"), strict=True):
        if not part:
            place = examples[0].place if examples else "data"
            raise UserError(
                f"{place}: of {len({_document(example) for example in examples})} document(s), a held-out share of "
                f"{heldout_share:g} with seed {seed} leaves none {name}. Give more data, another share, or a file of "
                "held-out examples."
            )
    return parts


def _document(example: Example) -> str:
    if example.document:
        return example.document
    if isinstance(example, TaggedWords):
        return " ".join(example.words)
    return example.context if isinstance(example, Question) else f"{example.text}\t{example.second or ''}"


def _place(document: str, seed: int) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(f"{seed} {document}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest) >> 11) / 2**53


def texts(examples: Iterable[LabelledText]) -> tuple[list[str], list[str] | None]:
    """The first sentences, and the second ones; None if these are single sentences."""
    examples = list(examples)
    firsts = [example.text for example in examples]
    if not examples or examples[0].second is None:
        return firsts, None
    return firsts, [example.second or "" for example in examples]


def fingerprint(examples: Sequence[Example], settings: Mapping[str, object] | None = None) -> str:
    """SHA-256 of examples in their order, in hexadecimal, without the places that they are from."""
    digest = hashlib.sha256(repr(sorted((settings or {}).items())).encode())
    for example in examples:
        digest.update(repr(example[:-1]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
