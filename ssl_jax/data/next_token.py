"""Rows for next-token prediction: what a causal model reads, and what it is to predict at each place.

A document of n tokens is n + 1 predictions: it is read as [BOS] t1 ... tn, and t1 ... tn [EOS] are predicted. So
every token and every [EOS] is predicted exactly once, [BOS] never is, and no place in a row is wasted on a token that
nothing is predicted from. Where a document goes on in another row, that row begins with the token before those it
predicts: the least that can be known of what came before.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.packing import Piece, Stream, lay_out
from ssl_jax.data.tokenizers import SpecialTokens, Tokenizer
from ssl_jax.errors import UserError

WINDOWS_SEED = 0
"""Decides which held-out documents are read when there are more than asked for."""


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """What a batch holds, each `[batch, length]`.

    int32 `tokens`, read; `targets`, to predict after each; `segment_ids`, 0 for padding, else the number of the packed
    document; `positions` in it. float32 `weights`: 1 for the targets that count, 0 for others and for padding.
    """
    shapes = {
        name: jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
        for name in ("tokens", "targets", "segment_ids", "positions")
    }
    return {**shapes, "weights": jax.ShapeDtypeStruct((batch_size, length), jnp.float32)}


class NextTokenRows:
    """Rows for training: the predictions of all documents, in an order drawn from `seed`, cut every `length` places.

    `len(rows)` rows make an epoch, the same in every epoch; only the last one has padding. The loader shuffles them.

    Raises:
      UserError: the corpus holds no document, or the length is below 1.
    """

    def __init__(self, corpus: TokenizedCorpus, length: int, special: SpecialTokens, seed: int = 0):
        _check_length(length)
        self._stream = Stream(corpus, seed)
        self._length, self._special = length, special

    def __len__(self) -> int:
        return self._stream.rows(self._length)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row, see `batch_shapes`. It needs no `rng`."""
        pieces = self._stream.row(row, self._length)
        return _row(self._stream.corpus, pieces, [0] * len(pieces), self._length, self._special)


class NextTokenWindows:
    """Rows for evaluation, with the `bytes` that each target stands for, int32 `[length]`.

    They are windows that slide over each document, as many as fit into a row.

    The first window of a document predicts its first `length` places. Each further one begins `stride` places after
    the one before and predicts `stride` new places, which alone count; the places before them are context. With a
    stride of `length` there is no overlap, and each place counts once either way. A small stride gives every
    prediction a long context, for `length / stride` times the work.

    Windows of several documents, or the ends of them, share a row without seeing each other.

    Attributes:
      corpus: the documents that are read, whole: all, or a random choice that fills `most_rows` rows.

    Args:
      bytes_of: int `[vocab_size]`, bytes of the text that each token stands for (`token_bytes`).
      most_rows: a single document may fill more.

    Raises:
      UserError: the corpus holds no document, or the stride is not between 1 and the length.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        length: int,
        special: SpecialTokens,
        bytes_of: np.ndarray,
        *,
        stride: int,
        most_rows: int,
    ):
        _check_length(length)
        if not 1 <= stride <= length:
            raise UserError(
                f"a stride of {stride} must be at least 1 and at most the length of a window, {length}."
            )
        corpus = Stream(corpus, WINDOWS_SEED).corpus
        self._rows, documents = _pack_windows(corpus.document_lengths, length, stride, most_rows)
        self.corpus = corpus.select(np.arange(documents))
        self._length, self._special, self._bytes = length, special, bytes_of.astype(np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row, see `batch_shapes`, and its `bytes`. It needs no `rng`."""
        pieces, contexts = zip(*self._rows[row], strict=True)
        made = _row(self.corpus, pieces, contexts, self._length, self._special)
        return {**made, "bytes": self._bytes[made["targets"]]}


def training_rows(corpus: TokenizedCorpus, length: int, tokenizer: Tokenizer) -> NextTokenRows:
    """`NextTokenRows` as `open_pretraining_text` wants them."""
    return NextTokenRows(corpus, length, tokenizer.special)


def heldout_windows(
    stride: int, most_rows: int
) -> Callable[[TokenizedCorpus, int, Tokenizer], NextTokenWindows]:
    """`NextTokenWindows` as `open_pretraining_text` wants them."""

    def make(corpus: TokenizedCorpus, length: int, tokenizer: Tokenizer) -> NextTokenWindows:
        bytes_of = token_bytes(tokenizer)
        return NextTokenWindows(
            corpus, length, tokenizer.special, bytes_of, stride=stride, most_rows=most_rows
        )

    return make


def token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Bytes of the UTF-8 text that each token stands for, int32 `[vocab_size]`.

    This is the text as the tokenizer normalised it: SentencePiece's models apply NFKC, make one space of any white
    space, and put one before the text; a byte-level BPE changes nothing. Special tokens have 0 bytes, [EOS] among
    them, and so has an unknown token, whose text is lost: it can only worsen a figure per byte.
    """
    return np.array([len(text) for text in tokenizer.piece_bytes(range(tokenizer.vocab_size))], np.int32)


def _check_length(length: int) -> None:
    if length < 1:
        raise UserError(f"a sequence length of {length} is too short; expected at least 1.")


def _pack_windows(
    lengths: np.ndarray, length: int, stride: int, most_rows: int
) -> tuple[list[list[tuple[Piece, int]]], int]:
    """Rows of windows, each with the number of its places that are context only; and how many documents are in them.

    A window that does not fit into the row begun last begins another. At least one document is taken.
    """
    rows: list[list[tuple[Piece, int]]] = []
    room = 0
    for document, tokens in enumerate(lengths):
        before, room_before = (len(rows), len(rows[-1]) if rows else 0), room
        for piece, context in _windows(document, int(tokens) + 1, length, stride):
            size = piece.stop - piece.start
            if size > room:
                rows.append([])
                room = length
            rows[-1].append((piece, context))
            room -= size
        if len(rows) > most_rows and document:
            whole, last = before
            del rows[whole:], rows[-1][last:]
            room = room_before
            return rows, document
    return rows, len(lengths)


def _windows(document: int, places: int, length: int, stride: int) -> list[tuple[Piece, int]]:
    windows = [(Piece(document, 0, min(length, places)), 0)]
    while windows[-1][0].stop < places:
        done = windows[-1][0].stop
        stop = min(done + stride, places)
        start = done + stride - length
        windows.append((Piece(document, start, stop), done - start))
    return windows


def _row(
    corpus: TokenizedCorpus,
    pieces: Sequence[Piece],
    contexts: Sequence[int],
    length: int,
    special: SpecialTokens,
) -> dict[str, np.ndarray]:
    """The predictions of some pieces of documents; the first `contexts` of each do not count."""
    lengths = [piece.stop - piece.start for piece in pieces]
    ends = np.cumsum(lengths)
    tokens, targets = (np.full(length, special.pad, np.int32) for _ in range(2))
    weights = np.zeros(length, np.float32)
    for piece, context, size, end in zip(pieces, contexts, lengths, ends, strict=True):
        document = corpus.document(piece.document)
        place = slice(end - size, end)
        tokens[place] = _padded(document, special.cls, piece.start - 1, piece.stop - 1)
        targets[place] = _padded(document, special.sep, piece.start, piece.stop)
        weights[end - size + context : end] = 1
    segment_ids, positions = lay_out(lengths, length)
    return {
        "tokens": tokens,
        "targets": targets,
        "segment_ids": segment_ids,
        "positions": positions,
        "weights": weights,
    }


def _padded(document: np.ndarray, outside: int, start: int, stop: int) -> np.ndarray:
    """`document[start:stop]`, with `outside` for the place before it and for the one after it."""
    inside = document[max(start, 0) : stop]
    return np.concatenate([[outside] * (start < 0), inside, [outside] * (stop > len(document))])
