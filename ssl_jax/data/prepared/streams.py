"""Rows of a stream of documents as records, and the same interface for them as for a stream in memory."""

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.prepared.documents import corpus_of
from ssl_jax.data.prepared.records import Records, decode, encode
from ssl_jax.data.ragged import offsets_of
from ssl_jax.data.stream import Piece, Stream


def encode_row(corpus: TokenizedCorpus, pieces: list[Piece], end: int) -> bytes:
    """A record with the pieces of a row.

    Args:
      corpus: the documents.
      pieces: of its documents. Where the first one continues a document, the token before it is kept, too: rows for
        next-token prediction read it.
      end: the token that stands for the end of a document, which no document contains.
    """
    texts = []
    for piece in pieces:
        document = corpus.document(piece.document)
        text = document[max(piece.start - 1, 0) : piece.stop]
        ends = piece.stop > len(document)
        texts.append(np.append(text, np.array(end, corpus.tokens.dtype)) if ends else text)
    lengths = np.array([int(pieces[0].start > 0), *map(len, texts)], np.int32)
    return encode(lengths, np.concatenate(texts))


def decode_row(record: bytes, dtype: type, end: int) -> tuple[TokenizedCorpus, list[Piece]]:
    """The pieces of a row, and a corpus that has what is needed of their documents."""
    lengths, tokens = decode(record, np.int32, dtype)
    continues, lengths = int(lengths[0]), lengths[1:].astype(np.int64)
    stops = offsets_of(lengths)
    ended = tokens[stops[1:] - 1] == end
    text = np.ones(len(tokens), bool)
    text[stops[1:][ended] - 1] = False
    corpus = corpus_of("", tokens[text], lengths - ended, np.ones(len(lengths), np.int64))
    pieces = [Piece(number, continues * (number == 0), int(length)) for number, length in enumerate(lengths)]
    return corpus, pieces


class PreparedStream:
    """Prepared rows in place of `Stream`: of one length, and in the order of the files.

    Args:
      records: of `encode_row`.
      length: positions of a row.
      dtype: of the tokens.
      end: the token that stands for the end of a document.
    """

    def __init__(self, records: Records, length: int, dtype: type, end: int):
        self._records, self._length, self._dtype, self._end = records, length, dtype, end

    def rows(self, length: int) -> int:
        """The number of rows, which have this length."""
        assert length == self._length, (length, self._length)
        return len(self._records)

    def cut(self, row: int, length: int) -> tuple[TokenizedCorpus, list[Piece]]:
        """See `Stream.cut`."""
        return decode_row(self._records[row], self._dtype, self._end)


def open_stream(corpus: TokenizedCorpus | PreparedStream, seed: int) -> Stream | PreparedStream:
    """The stream of a corpus in an order drawn from `seed`, or prepared rows as they are."""
    return corpus if isinstance(corpus, PreparedStream) else Stream(corpus, seed)
