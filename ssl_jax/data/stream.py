"""All documents of a corpus, one after the other, cut into rows of equal length."""

from typing import NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.errors import UserError


class Piece(NamedTuple):
    """The positions `start` to `stop` (exclusive) of a document."""

    document: int
    start: int
    stop: int


class Stream:
    """All documents one after the other; each has one position more than it has tokens.

    Args:
      corpus: the documents.
      seed: determines the order of the documents; None for that of the corpus.

    Attributes:
      corpus: the documents in the order of the stream.

    Raises:
      UserError: the corpus has no document.
    """

    def __init__(self, corpus: TokenizedCorpus, seed: int | None = 0):
        if len(corpus.hashes) == 0:
            raise UserError(f"data source {corpus.name!r}: this split holds no document. Give more text.")
        if seed is not None:
            corpus = corpus.select(np.random.default_rng(seed).permutation(len(corpus.hashes)))
        self.corpus = corpus
        self._ends = np.concatenate([[0], np.cumsum(self.corpus.document_lengths + 1)])

    def rows(self, length: int) -> int:
        """The number of rows of `length` positions."""
        return -(-int(self._ends[-1]) // length)

    def row(self, row: int, length: int) -> list[Piece]:
        """The pieces in a row of `length` positions. Only the last row may be shorter."""
        begin = row * length
        end = min(begin + length, int(self._ends[-1]))
        first, last = np.searchsorted(self._ends, [begin, end - 1], side="right") - 1
        starts = self._ends[first : last + 2]
        return [
            Piece(first + i, int(max(begin - starts[i], 0)), int(min(end, starts[i + 1]) - starts[i]))
            for i in range(last - first + 1)
        ]

    def cut(self, row: int, length: int) -> tuple[TokenizedCorpus, list[Piece]]:
        """The pieces of a row, and the corpus whose documents they are of."""
        return self.corpus, self.row(row, length)
