"""Corpora made of tokens, without text."""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus


def corpus_of(*sentences: Sequence[int]) -> TokenizedCorpus:
    """A corpus with a document for each sentence; each token counts as a byte of text."""
    ends = np.cumsum([0, *map(len, sentences)])
    documents = np.arange(len(sentences))
    return TokenizedCorpus(
        name="made up",
        fingerprint="0",
        tokens=np.concatenate(sentences),
        sentence_offsets=ends,
        first_sentence=documents,
        end_sentence=documents + 1,
        hashes=documents.astype(np.uint64),
        text_bytes=np.diff(ends),
        source_index=documents,
    )
