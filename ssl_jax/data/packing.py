"""Packs documents one after the other into rows of a fixed length.

Attention does not cross documents: `segment_ids` number the documents of a row, attention is masked to equal numbers,
and positions restart with each document.
"""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.prepared.streams import PreparedStream, open_stream
from ssl_jax.data.stream import Piece
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.errors import UserError


def segment_ids_and_positions(lengths: Sequence[int], length: int) -> tuple[np.ndarray, np.ndarray]:
    """`segment_ids` and `positions`, int32 `[length]`, of documents of these lengths in one row."""
    used = sum(lengths)
    ends = np.cumsum(lengths)
    segment_ids, positions = np.zeros(length, np.int32), np.zeros(length, np.int32)
    segment_ids[:used] = np.repeat(np.arange(len(lengths)) + 1, lengths)
    positions[:used] = np.arange(used) - np.repeat(ends - lengths, lengths)
    return segment_ids, positions


class PackedDocuments:
    """Rows `[CLS] ... [SEP] ... [SEP] ...` from a tokenised corpus (RoBERTa, arXiv:1907.11692).

    All documents, in an order drawn from `seed` and each followed by [SEP], form one stream. Row r is [CLS] and the
    stream's tokens `r * (length - 1)` to `(r + 1) * (length - 1)`. So the rows contain each token of each document
    exactly once, and only the last row has padding. A document that does not fit continues in the next row, as a
    separate segment without attention to its beginning.

    An epoch has `len(packed)` rows, the same in every epoch; the loader shuffles them.

    Args:
      corpus: the documents, or rows of `length - 1` positions that were prepared.
      length: tokens per row, at least 2.
      special: ids of the special tokens.
      starts_word: bool `[vocab_size]`, whether a token begins a word.
      seed: determines the order of the documents.

    Raises:
      UserError: the corpus has no document, or the length is below 2.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus | PreparedStream,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        seed: int = 0,
    ):
        if length < 2:
            raise UserError(
                f"a sequence length of {length} is too short for packed rows; expected at least 2."
            )
        self._stream = open_stream(corpus, seed)
        self._length, self._special, self._starts_word = length, special, starts_word

    def __len__(self) -> int:
        return self._stream.rows(self._length - 1)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row: int32 `tokens`, `token_type_ids` (zeros), `segment_ids`, `positions` and `words`, all `[length]`.

        `vocab_size []` is the number of the tokenizer's ids. `rng` is not used.
        """
        corpus, cut = self._stream.cut(row, self._length - 1)
        pieces = [self._tokens(corpus, piece) for piece in cut]
        lengths = np.array([len(piece) for piece in pieces])
        lengths[0] += 1  # [CLS]
        used = lengths.sum()

        tokens = np.full(self._length, self._special.pad, np.int32)
        tokens[0] = self._special.cls
        tokens[1:used] = np.concatenate(pieces)
        segment_ids, positions = segment_ids_and_positions(lengths, self._length)
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
            "vocab_size": np.asarray(len(self._starts_word), np.int32),
        }

    def _tokens(self, corpus: TokenizedCorpus, piece: Piece) -> np.ndarray:
        """The tokens of a piece, followed by [SEP] if it ends its document."""
        document = corpus.document(piece.document)
        text = document[piece.start : piece.stop]
        return np.append(text, self._special.sep) if piece.stop > len(document) else text
