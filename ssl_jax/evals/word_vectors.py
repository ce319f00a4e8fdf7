"""What word vectors know: similarity as people judge it, analogies, and nearest neighbours; and their text format.

Vectors are float `[words, width]`, in the order of the words. They are compared by their cosine.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.labelled_tables import Columns, read_labelled_text
from ssl_jax.data.lines import read_lines
from ssl_jax.errors import UserError
from ssl_jax.evals.label_metrics import spearman_correlation

_CHUNK = 512
"""Questions that are answered at once."""


class Similarity(NamedTuple):
    """How vectors agree with people on pairs of words.

    Attributes:
      correlation: Spearman's, of the pairs whose words are both known; NaN if they are fewer than two.
      known: number of these pairs.
      pairs: number of all pairs.
    """

    correlation: float
    known: int
    pairs: int


class Analogies(NamedTuple):
    """How many analogies of a section are solved.

    Attributes:
      right: number of the questions that are answered right.
      known: number of the questions of which all four words are known; the others are not asked.
      questions: number of all questions.
    """

    right: int
    known: int
    questions: int


def unit(vectors: np.ndarray) -> np.ndarray:
    """The vectors with a length of 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def similarity(vectors: np.ndarray, numbers: Mapping[str, int], file: str, *, lowercase: bool) -> Similarity:
    """The correlation of cosines with the judgements of people.

    Args:
      vectors: of the words.
      numbers: of each word, its row.
      file: a .tsv file with the columns word1, word2 and score.
      lowercase: whether words are known in lower case alone.

    Raises:
      UserError: the file cannot be read.
    """
    pairs = read_labelled_text(file, Columns("word1", "word2", "score"), scored=True)
    rows = [
        (*(numbers.get(_folded(word, lowercase)) for word in (pair.text, pair.second)), pair.score)
        for pair in pairs
    ]
    known = [row for row in rows if None not in row[:2]]
    first, second, scores = (
        (np.array(column) for column in zip(*known, strict=True)) if known else ([], [], [])
    )
    of = unit(vectors)
    cosines = np.einsum("ij,ij->i", of[first], of[second]) if known else np.zeros(0)
    return Similarity(spearman_correlation(scores, cosines), len(known), len(rows))


def read_analogies(file: str) -> dict[str, list[tuple[str, str, str, str]]]:
    """Questions by section, from a file of word2vec: `: SECTION` and lines of four words.

    Raises:
      UserError: the file cannot be read, or a line has another number of words.
    """
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    section = "all"
    for number, line in enumerate(read_lines(file), 1):
        words = line.split()
        if line.startswith(":"):
            section = line[1:].strip()
        elif len(words) == 4:
            sections.setdefault(section, []).append(tuple(words))
        elif words:
            raise UserError(f"{file}, line {number}: has {len(words)} words; an analogy has four.")
    return sections


def analogies(
    vectors: np.ndarray,
    numbers: Mapping[str, int],
    questions: Sequence[tuple[str, str, str, str]],
    *,
    lowercase: bool,
) -> Analogies:
    """a is to b as c is to d: d has the largest cosine with b - a + c of all words but these three (3CosAdd).

    Args:
      vectors: of the words.
      numbers: of each word, its row.
      questions: (a, b, c, d).
      lowercase: whether words are known in lower case alone.
    """
    rows = [[numbers.get(_folded(word, lowercase)) for word in question] for question in questions]
    known = np.array([row for row in rows if None not in row], np.int64).reshape(-1, 4)
    of, right = unit(vectors), 0
    for begin in range(0, len(known), _CHUNK):
        a, b, c, d = known[begin : begin + _CHUNK].T
        cosines = (of[b] - of[a] + of[c]) @ of.T
        for given in (a, b, c):
            cosines[np.arange(len(a)), given] = -np.inf
        right += int((cosines.argmax(-1) == d).sum())
    return Analogies(right, len(known), len(rows))


def neighbours(vectors: np.ndarray, row: int, count: int) -> list[tuple[int, float]]:
    """(row, cosine) of the words that are most similar to a word, without itself."""
    of = unit(vectors)
    cosines = of @ of[row]
    cosines[row] = -np.inf
    return [(int(other), float(cosines[other])) for other in np.argsort(-cosines, kind="stable")[:count]]


def word2vec_text(words: Sequence[str], vectors: np.ndarray) -> str:
    """Word vectors in the text format of word2vec: their number and width, then a word and its vector a line.

    Example:
      >>> word2vec_text(["a"], np.array([[0.5, -1.0]]))
      '1 2\\na 0.5 -1\\n'
    """
    lines = (f"{word} {' '.join(f'{x:.6g}' for x in row)}" for word, row in zip(words, vectors, strict=True))
    return "\n".join([f"{len(words)} {vectors.shape[1]}", *lines, ""])


def _folded(word: str, lowercase: bool) -> str:
    return word.lower() if lowercase else word
