"""Tokenised documents as a record, and back."""

from collections.abc import Iterable

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.prepared.records import decode, encode
from ssl_jax.data.ragged import offsets_of, ranges

_OF_DOCUMENTS = (np.uint64, np.int64, np.int64, np.int32)


def encode_documents(corpus: TokenizedCorpus) -> bytes:
    """A record with the documents of a corpus, in its order; empty if there are none."""
    if len(corpus.hashes) == 0:
        return b""
    sentences = corpus.end_sentence - corpus.first_sentence
    numbers = ranges(corpus.first_sentence, sentences)
    starts = corpus.sentence_offsets[numbers]
    lengths = corpus.sentence_offsets[numbers + 1] - starts
    return encode(
        corpus.hashes,
        corpus.source_index,
        corpus.text_bytes,
        sentences.astype(np.int32),
        lengths.astype(np.int32),
        corpus.tokens[ranges(starts, lengths)],
    )


def decode_documents(records: Iterable[bytes], dtype: type, name: str) -> TokenizedCorpus:
    """The corpus of all documents of some records of `encode_documents`.

    Args:
      records: in the order of the documents.
      dtype: of the tokens.
      name: of the corpus.
    """
    dtypes = (*_OF_DOCUMENTS, np.int32, dtype)
    decoded = [decode(record, *dtypes) for record in records if record]
    decoded.append([np.zeros(0, each) for each in dtypes])  # there may be no document
    joined = [np.concatenate(arrays) for arrays in zip(*decoded, strict=True)]
    hashes, positions, text_bytes, sentences, lengths, tokens = joined
    return corpus_of(name, tokens, lengths, sentences)._replace(
        hashes=hashes, text_bytes=text_bytes, source_index=positions
    )


def corpus_of(name: str, tokens: np.ndarray, lengths: np.ndarray, sentences: np.ndarray) -> TokenizedCorpus:
    """Documents without text, with their numbers in place of hashes.

    Args:
      name: of the corpus.
      tokens: of all documents.
      lengths: tokens of each sentence.
      sentences: of each document.
    """
    ends, numbers = offsets_of(sentences), np.arange(len(sentences))
    return TokenizedCorpus(
        name=name,
        fingerprint="",
        tokens=tokens,
        sentence_offsets=offsets_of(lengths),
        first_sentence=ends[:-1],
        end_sentence=ends[1:],
        hashes=numbers.astype(np.uint64),
        text_bytes=np.zeros(len(sentences), np.int64),
        source_index=numbers,
    )


def encode_text(lengths: np.ndarray, tokens: np.ndarray) -> bytes:
    """A record with tokens that consist of sentences of the given lengths."""
    return encode(lengths.astype(np.int32), tokens)


def decode_text(records: Iterable[bytes], dtype: type, name: str) -> TokenizedCorpus:
    """A corpus in which each record of `encode_text` is a document."""
    decoded = [decode(record, np.int32, dtype) for record in records]
    lengths, tokens = (np.concatenate(arrays) for arrays in zip(*decoded, strict=True))
    return corpus_of(name, tokens, lengths, np.array([len(sentences) for sentences, _ in decoded]))
