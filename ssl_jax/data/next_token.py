"""Rows for next-token prediction: the inputs of a causal model and the targets at each position.

A document of n tokens gives n + 1 predictions: the inputs are [BOS] t1 ... tn, and the targets are t1 ... tn [EOS]. So
each token and each [EOS] is predicted exactly once, [BOS] is never predicted, and every position of a row has a target.
If a document continues in another row, that row begins with the token before its first target: the shortest possible
context.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.packing import segment_ids_and_positions
from ssl_jax.data.prepared.reading import Prepared
from ssl_jax.data.prepared.streams import PreparedStream, open_stream
from ssl_jax.data.stream import Piece, Stream
from ssl_jax.data.tokenizers import SpecialTokens, Tokenizer
from ssl_jax.errors import UserError

WINDOWS_SEED = 0
"""Selects the held-out documents that are read if there are more than fit."""


def batch_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shape and dtype of each array of a batch, all `[batch, length]`.

    int32: `tokens`, the inputs; `targets`, the next tokens; `segment_ids`, 0 for padding, otherwise the index of the
    packed document from 1; `positions` in the document. float32: `weights`, 1 for targets that count, 0 for other
    targets and for padding.
    """
    shapes = {
        name: jax.ShapeDtypeStruct((batch_size, length), jnp.int32)
        for name in ("tokens", "targets", "segment_ids", "positions")
    }
    return {**shapes, "weights": jax.ShapeDtypeStruct((batch_size, length), jnp.float32)}


def heldout_shapes(batch_size: int, length: int) -> dict[str, jax.ShapeDtypeStruct]:
    """As `batch_shapes`, of windows of held-out text: with int32 `bytes` of the text of each target."""
    shapes = batch_shapes(batch_size, length)
    return {**shapes, "bytes": jax.ShapeDtypeStruct((batch_size, length), jnp.int32)}


class NextTokenRows:
    """Rows for training: the predictions of all documents, in an order drawn from `seed`, cut every `length` positions.

    An epoch has `len(rows)` rows, the same in every epoch; only the last one has padding. The loader shuffles them.

    Args:
      corpus: the documents, or rows of `length` positions that were prepared.
      length: positions per row.
      special: ids of the special tokens; [BOS] and [EOS] are its `cls` and `sep`.
      seed: determines the order of the documents.

    Raises:
      UserError: the corpus has no document, or the length is below 1.
    """

    def __init__(
        self, corpus: TokenizedCorpus | PreparedStream, length: int, special: SpecialTokens, seed: int = 0
    ):
        _check_length(length)
        self._stream = open_stream(corpus, seed)
        self._length, self._special = length, special

    def __len__(self) -> int:
        return self._stream.rows(self._length)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row, see `batch_shapes`. `rng` is not used."""
        corpus, pieces = self._stream.cut(row, self._length)
        return _row(corpus, pieces, [0] * len(pieces), self._length, self._special)


class NextTokenWindows:
    """Rows for evaluation: windows that slide over each document, as many as fit into a row.

    The first window of a document predicts its first `length` positions. Each further window begins `stride` positions
    later and predicts `stride` new positions. Only these count; the positions before them are context. So each position
    counts once. With a stride of `length`, windows do not overlap; a small stride gives each prediction a long context,
    at `length / stride` times the cost.

    Windows of several documents share a row, without attention between them. In addition to the arrays of
    `batch_shapes`, a row has `bytes`, int32 `[length]`, the number of bytes of each target. Those of a document are
    together the bytes of its original text: [EOS] has the difference to what the tokens stand for, which differs if
    the tokenizer normalises or does not know a character. It can be negative.

    Args:
      corpus: the documents.
      length: positions per row.
      special: ids of the special tokens.
      token_bytes: int `[vocab_size]`, number of bytes of the text of each token (`count_token_bytes`).
      stride: positions between windows.
      max_rows: largest number of rows; a single document may exceed it.

    Attributes:
      corpus: the documents that are read completely: all, or a random subset that fills `max_rows` rows.

    Raises:
      UserError: the corpus has no document, or the stride is not between 1 and the length.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        length: int,
        special: SpecialTokens,
        token_bytes: np.ndarray,
        *,
        stride: int,
        max_rows: int,
    ):
        _check_length(length)
        if not 1 <= stride <= length:
            raise UserError(
                f"a stride of {stride} must be at least 1 and at most the length of a window, {length}."
            )
        corpus = Stream(corpus, WINDOWS_SEED).corpus
        self._rows, documents = _pack_windows(corpus.document_lengths, length, stride, max_rows)
        self.corpus = corpus.select(np.arange(documents))
        self._length, self._special, self._bytes = length, special, token_bytes.astype(np.int32)
        read = [int(token_bytes[self.corpus.document(index)].sum()) for index in range(documents)]
        self._changed = (self.corpus.text_bytes - read).astype(np.int32)

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, row: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        """A row with the arrays of `batch_shapes` and `bytes`. `rng` is not used."""
        pieces, contexts = zip(*self._rows[row], strict=True)
        made = _row(self.corpus, pieces, contexts, self._length, self._special)
        number_of_bytes = self._bytes[made["targets"]]
        for piece, end in zip(pieces, np.cumsum([piece.stop - piece.start for piece in pieces]), strict=True):
            if piece.stop > len(self.corpus.document(piece.document)):
                number_of_bytes[end - 1] += self._changed[piece.document]
        return {**made, "bytes": number_of_bytes}


def training_rows(corpus: TokenizedCorpus | Prepared, length: int, tokenizer: Tokenizer) -> NextTokenRows:
    """Makes `NextTokenRows`; an argument of `open_pretraining_text`."""
    documents = corpus.stream("next_token", length) if isinstance(corpus, Prepared) else corpus
    return NextTokenRows(documents, length, tokenizer.special)


def heldout_windows(
    stride: int, max_rows: int
) -> Callable[[TokenizedCorpus, int, Tokenizer], NextTokenWindows]:
    """Returns a function that makes `NextTokenWindows`; an argument of `open_pretraining_text`."""

    def make(corpus: TokenizedCorpus, length: int, tokenizer: Tokenizer) -> NextTokenWindows:
        token_bytes = count_token_bytes(tokenizer)
        return NextTokenWindows(
            corpus, length, tokenizer.special, token_bytes, stride=stride, max_rows=max_rows
        )

    return make


def count_token_bytes(tokenizer: Tokenizer) -> np.ndarray:
    """Number of bytes of the UTF-8 text of each token, int32 `[vocab_size]`.

    The text is the one that the tokenizer has normalised: SentencePiece models apply NFKC, replace any white space by
    one space and add a space before the text, while bytes, characters and most byte-level BPEs change nothing
    (`Tokenizer.keeps_text`). Special tokens, including [EOS], have 0 bytes, and so has the unknown token.
    """
    return np.array([len(text) for text in tokenizer.piece_bytes(range(tokenizer.vocab_size))], np.int32)


def _check_length(length: int) -> None:
    if length < 1:
        raise UserError(f"a sequence length of {length} is too short; expected at least 1.")


def _pack_windows(
    lengths: np.ndarray, length: int, stride: int, max_rows: int
) -> tuple[list[list[tuple[Piece, int]]], int]:
    """Packs windows into rows.

    A window that does not fit into the last row begins a new row. At least one document is packed.

    Returns:
      rows of (window, number of its positions that are only context), and the number of packed documents.
    """
    rows: list[list[tuple[Piece, int]]] = []
    room = 0
    for document, tokens in enumerate(lengths):
        before, room_before = (len(rows), len(rows[-1]) if rows else 0), room
        for piece, context in document_windows(document, int(tokens) + 1, length, stride):
            size = piece.stop - piece.start
            if size > room:
                rows.append([])
                room = length
            rows[-1].append((piece, context))
            room -= size
        if len(rows) > max_rows and document:
            whole, last = before
            del rows[whole:], rows[-1][last:]
            room = room_before
            return rows, document
    return rows, len(lengths)


def document_windows(document: int, places: int, length: int, stride: int) -> list[tuple[Piece, int]]:
    """Windows that slide over the positions of a document, and how many positions of each are only context.

    Args:
      document: its number.
      places: its positions.
      length: positions of a window, at most.
      stride: new positions of each further window.
    """
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
    """Makes the row of some pieces of documents; the first `contexts` positions of each piece have weight 0."""
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
    segment_ids, positions = segment_ids_and_positions(lengths, length)
    return {
        "tokens": tokens,
        "targets": targets,
        "segment_ids": segment_ids,
        "positions": positions,
        "weights": weights,
    }


def _padded(document: np.ndarray, outside: int, start: int, stop: int) -> np.ndarray:
    """`document[start:stop]`, with `outside` at the position before the document and at the position after it."""
    inside = document[max(start, 0) : stop]
    return np.concatenate([[outside] * (start < 0), inside, [outside] * (stop > len(document))])
