"""Documents one after the other in rows of a fixed length.

Documents do not see each other: a row numbers the documents in it (`segment_ids`), attention is masked to equal numbers,
and positions restart with each.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.errors import UserError


class Piece(NamedTuple):
    """Places `start` up to, without, `stop` of a document."""

    document: int
    start: int
    stop: int


class Stream:
    """All documents one after the other, each with one place more than it has tokens.

    Attributes:
      corpus: the documents in the order of the stream, which is drawn from `seed`.

    Raises:
      UserError: the corpus holds no document.
    """

    def __init__(self, corpus: TokenizedCorpus, seed: int = 0):
        if len(corpus.hashes) == 0:
            raise UserError(f"data source {corpus.name!r}: this split holds no document. Give more text.")
        self.corpus = corpus.select(np.random.default_rng(seed).permutation(len(corpus.hashes)))
        self._ends = np.concatenate([[0], np.cumsum(self.corpus.document_lengths + 1)])

    def rows(self, length: int) -> int:
        """How many rows of so many places the stream fills."""
        return -(-int(self._ends[-1]) // length)

    def row(self, row: int, length: int) -> list[Piece]:
        """What is in a row of so many places. Only the last one may have fewer."""
        begin = row * length
        end = min(begin + length, int(self._ends[-1]))
        first, last = np.searchsorted(self._ends, [begin, end - 1], side="right") - 1
        starts = self._ends[first : last + 2]
        return [
            Piece(first + i, int(max(begin - starts[i], 0)), int(min(end, starts[i + 1]) - starts[i]))
            for i in range(last - first + 1)
        ]


def lay_out(lengths: Sequence[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """`segment_ids` and `positions`, int32 `[length]`, of documents of these lengths in one row."""
    used = sum(lengths)
    ends = np.cumsum(lengths)
    segment_ids, positions = np.zeros(length, np.int32), np.zeros(length, np.int32)
    segment_ids[:used] = np.repeat(np.arange(len(lengths)) + 1, lengths)
    positions[:used] = np.arange(used) - np.repeat(ends - lengths, lengths)
    return segment_ids, positions


class PackedDocuments:
    """Rows `[CLS] ... [SEP] ... [SEP] ...` from a tokenised corpus (RoBERTa, arXiv:1907.11692).

    All documents, in an order drawn from `seed` and each followed by [SEP], make one stream; row r is [CLS] and the
    stream's tokens `r * (length - 1)` up to `(r + 1) * (length - 1)`. So the rows hold every token of every document
    exactly once, and only the last row has padding. A document goes on in the next row where one is full; what stands
    there is a sequence of its own, which does not see the beginning.

    `len(packed)` rows make an epoch, the same in every epoch; the loader shuffles them.

    Raises:
      UserError: the corpus holds no document, or the length is below 2.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        seed: int = 0,
    ):
        if length < 2:
            raise UserError(
                f"a sequence length of {length} is too short for packed rows; expected at least 2."
            )
        self._stream = Stream(corpus, seed)
        self._length, self._special, self._starts_word = length, special, starts_word

    def __len__(self) -> int:
        return self._stream.rows(self._length - 1)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """Row: int32 `tokens`, `token_type_ids` (zeros), `segment_ids`, `positions`, `words` `[length]`. It needs no `rng`."""
        pieces = [self._tokens(piece) for piece in self._stream.row(row, self._length - 1)]
        lengths = np.array([len(piece) for piece in pieces])
        lengths[0] += 1  # [CLS]
        used = lengths.sum()

        tokens = np.full(self._length, self._special.pad, np.int32)
        tokens[0] = self._special.cls
        tokens[1:used] = np.concatenate(pieces)
        segment_ids, positions = lay_out(lengths, self._length)
        starts = self._starts_word[tokens]
        starts[np.maximum(np.cumsum(lengths) - lengths, 1)] = True
        special = np.isin(tokens, (self._special.pad, self._special.cls, self._special.sep))
        words = np.where(special, -1, np.cumsum(starts & ~special) - 1)
        return {
            "tokens": tokens,
            "token_type_ids": np.zeros_like(tokens),
            "segment_ids": segment_ids,
            "positions": positions,
            "words": words.astype(np.int32),
        }

    def _tokens(self, piece: Piece) -> np.ndarray:
        """The tokens there, and [SEP] at the end of the document."""
        document = self._stream.corpus.document(piece.document)
        text = document[piece.start : piece.stop]
        return np.append(text, self._special.sep) if piece.stop > len(document) else text
