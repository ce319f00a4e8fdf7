"""Bits per byte of held-out text under n-gram baselines and compressors, to read those of a language model beside."""

import bz2
import lzma
from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.ngram_baselines import KneserNey, leading_documents

ORDERS = (1, 2, 3, 5)
"""Lengths of the n-grams."""
COUNTED_TOKENS = 5_000_000
"""The n-grams are counted in this much of the training text at most."""


def ngram_bits(training: TokenizedCorpus, heldout: TokenizedCorpus, tokenizer: Tokenizer) -> dict[int, float]:
    """Bits per byte of interpolated Kneser-Ney n-grams of the training text, by their order.

    An order is left out where the vocabulary is so large that its n-grams cannot be numbered below 2^63.
    """
    size = tokenizer.vocab_size
    counted = leading_documents(training, COUNTED_TOKENS)
    total = int(heldout.text_bytes.sum())
    return {
        order: float(
            KneserNey(counted, order, size, tokenizer.special).nats(heldout).sum() / np.log(2) / total
        )
        for order in ORDERS
        if size**order < 2**63
    }


def compressed_bits(documents: Sequence[bytes]) -> dict[str, float]:
    """Bits per byte of general compressors, by name; the line breaks between documents are not counted as text.

    Args:
      documents: the held-out text, see `ssl_jax.data.corpus.original_text`.
    """
    data, size = b"\n".join(documents), sum(map(len, documents))
    packed = {"bz2": bz2.compress(data), "lzma": lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)}
    return {name: 8 * len(content) / size for name, content in packed.items()}
