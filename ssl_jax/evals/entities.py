"""Precision, recall and F1 of named entities, as CoNLL's evaluation and seqeval (its default mode) define them.

An entity is right if its first word, its last word and its type are. Tags are PREFIX-TYPE with the prefixes B, I, E and
S, or O; a tag with another prefix counts as O. Tags in an order that the scheme does not allow are read as conlleval
reads them: an I after O, or of another type than the tag before it, begins an entity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_PREFIXES = "OBIES"


class EntityScore(NamedTuple):
    """How well entities are found.

    Attributes:
      precision: share of the predicted entities that are right; 0 if there is none.
      recall: share of the labelled entities that are found; 0 if there is none.
      f1: their harmonic mean; 0 if both are 0.
      labelled: number of labelled entities.
      predicted: number of predicted entities.
      right: number of predicted entities that are right.
    """

    precision: float
    recall: float
    f1: float
    labelled: int
    predicted: int
    right: int

    @classmethod
    def of(cls, labelled: int, predicted: int, right: int) -> "EntityScore":
        """From counts."""
        precision = right / predicted if predicted else 0.0
        recall = right / labelled if labelled else 0.0
        f1 = 2 * precision * recall / (precision + recall) if right else 0.0
        return cls(precision, recall, f1, labelled, predicted, right)


def entity_scores(
    labels: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> tuple[EntityScore, dict[str, EntityScore]]:
    """Scores of all entities together, and of each type.

    Args:
      labels, predictions: the tags of the words of each sentence.

    Raises:
      ValueError: the numbers of sentences or of words differ.
    """
    lengths = [np.fromiter(map(len, each), np.int64, len(each)) for each in (labels, predictions)]
    if not np.array_equal(*lengths):
        raise ValueError("labels and predictions have different numbers of sentences or of words")
    flat = [[tag for sentence in each for tag in sentence] for each in (labels, predictions)]
    tags = sorted(set(flat[0]) | set(flat[1]))
    numbers = {tag: number for number, tag in enumerate(tags)}
    coded = [np.fromiter(map(numbers.__getitem__, each), np.int64, len(each)) for each in flat]
    return entity_scores_of_ids(*coded, lengths[0], tags)


def entity_scores_of_ids(
    labels: np.ndarray, predictions: np.ndarray, lengths: np.ndarray, tags: Sequence[str]
) -> tuple[EntityScore, dict[str, EntityScore]]:
    """`entity_scores` of tags by number.

    Args:
      labels, predictions: int `[words]`, indices into `tags`, of the words of all sentences.
      lengths: int `[sentences]`, words of each sentence.
      tags: the names.
    """
    prefixes = np.array([max(_PREFIXES.find(tag[:1]), 0) for tag in tags])
    names = [tag[1:].split("-", 1)[-1] or "_" for tag in tags]  # of O, which has no type, "_"
    types = sorted(set(names))
    type_of = np.array([types.index(name) for name in names])
    # An O after each sentence, and one before all, so that no entity goes on into the next sentence.
    place = np.arange(len(labels)) + np.repeat(np.arange(1, len(lengths) + 1), lengths)
    size = len(labels) + len(lengths) + 1
    found = []
    for ids in (labels, predictions):
        prefix, kind = np.zeros(size, np.int64), np.full(size, -1)
        prefix[place], kind[place] = prefixes[ids], type_of[ids]
        found.append(_entities(prefix, kind))
    keys = [(first * size + last) * len(types) + of for first, last, of in found]
    right = np.isin(keys[1], keys[0])
    counts = [
        np.bincount(kind, minlength=len(types)).tolist()
        for kind in (found[0].kind, found[1].kind, found[1].kind[right])
    ]
    by_type = {
        name: EntityScore.of(*each)
        for name, each in zip(types, zip(*counts, strict=True), strict=True)
        if any(each)
    }
    return EntityScore.of(*map(sum, counts)), by_type


class _Entities(NamedTuple):
    """The first place, the last place and the type of entities, each `[entities]`."""

    first: np.ndarray
    last: np.ndarray
    kind: np.ndarray


def _entities(prefix: np.ndarray, kind: np.ndarray) -> _Entities:
    """Finds the entities in tags.

    Args:
      prefix: int `[places]`, indices into `_PREFIXES`; the first and the last are O.
      kind: int `[places]`, number of the type.
    """
    before, now = prefix[:-1], prefix[1:]
    other = kind[:-1] != kind[1:]
    ends = _ENDS_BETWEEN[before, now] | ((before != 0) & other)
    starts = _STARTS_BETWEEN[before, now] | ((now != 0) & other)
    first = np.maximum.accumulate(np.where(starts, np.arange(1, len(prefix)), 0))
    last = np.flatnonzero(ends)  # the place before an end is the last of an entity
    return _Entities(first[last - 1], last, kind[last])


def _between(rule: dict[str, str]) -> np.ndarray:
    """Bool `[prefix before, prefix now]`."""
    return np.array([[now in rule[before] for now in _PREFIXES] for before in _PREFIXES])


_ENDS_BETWEEN = _between({"O": "", "B": "OBS", "I": "OBS", "E": "OBIES", "S": "OBIES"})
_STARTS_BETWEEN = _between({"O": "BIES", "B": "BS", "I": "BS", "E": "BIES", "S": "BIES"})
