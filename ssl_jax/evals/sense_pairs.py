"""Whether embeddings tell the senses of a word: pairs of its occurrences, of the same sense and of different ones."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

DIGITS = 6
"""Decimals of the cosines that are compared. Equal vectors then are equal, whatever the rounding of their products."""


class Group(NamedTuple):
    """The occurrences of a word.

    Attributes:
      rows: of the vectors of all words, those of this word.
      senses: int `[occurrences]`.
    """

    rows: slice
    senses: np.ndarray


class Neighbour(NamedTuple):
    """An occurrence of a word in a text, near to another one.

    Attributes:
      cosine: of the centred embeddings.
      text: the sentence.
      start, end: where the word is in it, in characters.
    """

    cosine: float
    text: str
    start: int
    end: int


class Separation(NamedTuple):
    """How well the senses of words are told, by one kind of embedding.

    Attributes:
      auc: by word, see `same_sense_auc`.
      permuted: by word, see `permuted_aucs`.
    """

    auc: dict[str, float]
    permuted: dict[str, np.ndarray]

    @property
    def mean(self) -> float:
        """Over the words."""
        return float(np.mean([*self.auc.values()]))

    @property
    def p_values(self) -> dict[str, float]:
        """Of each word, see `p_value`."""
        return {word: p_value(auc, self.permuted[word]) for word, auc in self.auc.items()}

    @property
    def mean_p_value(self) -> float:
        """Of the mean."""
        return p_value(self.mean, np.mean([*self.permuted.values()], axis=0))


def separation(
    vectors: np.ndarray, centre: np.ndarray | None, groups: Mapping[str, Group], permutations: int
) -> Separation:
    """The areas of each word, and those of permuted senses.

    Args:
      vectors: `[occurrences of all words, width]`.
      centre: as in `cosine_matrix`.
      groups: by word.
      permutations: of the senses among the sentences of a word.
    """
    auc, permuted = {}, {}
    for number, (word, (rows, senses)) in enumerate(groups.items()):
        cosines = cosine_matrix(vectors[rows], centre)
        auc[word] = same_sense_auc(cosines, senses)
        permuted[word] = permuted_aucs(cosines, senses, permutations=permutations, seed=number)
    return Separation(auc, permuted)


def cosine_matrix(vectors: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
    """Cosine similarities of all pairs, float64 `[occurrences, occurrences]`; 0 with a vector of length 0.

    Args:
      vectors: `[occurrences, width]`.
      centre: `[width]`, a mean over other text, which is subtracted first; None for none.
    """
    vectors = np.asarray(vectors, np.float64)
    if centre is not None:
        vectors = vectors - centre
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    return unit @ unit.T


def same_sense_auc(cosines: np.ndarray, senses: np.ndarray) -> float:
    """The area under the ROC curve of the pairs of one sense against those of two: by chance 0.5.

    It is the probability that a random pair of the same sense has a larger cosine than a random pair of different
    senses; ties count half.

    Args:
      cosines: `[occurrences, occurrences]`, symmetric.
      senses: int `[occurrences]`; there are pairs of both kinds.

    Example:
      >>> same_sense_auc(np.array([[1, 0.9, 0.2], [0.9, 1, 0.9], [0.2, 0.9, 1]]), np.array([0, 0, 1]))
      0.75
    """
    return float(_aucs(_ranks(cosines), np.asarray(senses)[None])[0])


def permuted_aucs(cosines: np.ndarray, senses: np.ndarray, *, permutations: int, seed: int) -> np.ndarray:
    """`same_sense_auc` if the sentences had each other's senses, float64 `[permutations]`.

    Pairs that share a sentence are not independent, so that the senses of sentences are permuted, not those of pairs.

    Args:
      cosines, senses: as in `same_sense_auc`.
      permutations: how many, at random.
      seed: of the permutations.
    """
    senses = np.asarray(senses)
    shuffled = np.random.default_rng(seed).permuted(np.tile(senses, (permutations, 1)), axis=1)
    return _aucs(_ranks(cosines), shuffled)


def p_value(observed: float, permuted: np.ndarray) -> float:
    """The probability of so large a value by chance, one-sided; at least 1 / (permutations + 1)."""
    return float((1 + np.sum(permuted >= observed - 1e-12)) / (1 + len(permuted)))


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The two directions in which vectors differ most.

    Args:
      vectors: `[occurrences, width]`, at least 2 of each.

    Returns:
      Coordinates float64 `[occurrences, 2]`, and the shares of the variance `[2]`. Of the two signs of a direction, the
      first occurrence that is not at 0 has a positive coordinate.
    """
    centred = np.asarray(vectors, np.float64)
    centred = centred - centred.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    coordinates = left[:, :2] * values[:2]
    for column in coordinates.T:
        large = np.flatnonzero(np.abs(column) > 1e-6 * max(values[0], 1e-30))
        if len(large) and column[large[0]] < 0:
            column *= -1
    total = np.sum(values**2)
    return coordinates, values[:2] ** 2 / (total if total > 0 else 1)


def mean_of_rows(means: np.ndarray, counts: Sequence[int]) -> np.ndarray:
    """The mean over all tokens, from the means `[rows, ...]` over the tokens of each row and their numbers."""
    weights = np.asarray(counts, np.float64) / math.fsum(counts)
    return np.tensordot(weights, np.asarray(means, np.float64), axes=1)


def _ranks(cosines: np.ndarray) -> np.ndarray:
    """The rank of each pair, from 1, the mean rank for equal ones; `[pairs]` in the order of `np.triu_indices`."""
    from scipy.stats import rankdata  # slow to import

    return rankdata(np.round(cosines[np.triu_indices(len(cosines), 1)], DIGITS))


def _aucs(ranks: np.ndarray, senses: np.ndarray) -> np.ndarray:
    """The areas `[labellings]` of labellings `[labellings, occurrences]` that have equally many pairs of one sense."""
    first, second = np.triu_indices(senses.shape[1], 1)
    same = senses[:, first] == senses[:, second]
    positive = int(same[0].sum())
    negative = same.shape[1] - positive
    above = same @ ranks - positive * (positive + 1) / 2
    return above / (positive * negative)
