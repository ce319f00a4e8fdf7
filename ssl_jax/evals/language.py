"""What a language model has learnt, in bits per byte of held-out text, beside what counting and compressors reach."""

import bz2
import lzma
from collections.abc import Callable, Mapping

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.next_token import token_bytes
from ssl_jax.data.pretraining_text import PretrainingText
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.ngrams import NGrams

ORDERS = {
    1: "single tokens, counted",
    2: "2-grams, Kneser-Ney",
    3: "3-grams, Kneser-Ney",
    5: "5-grams, Kneser-Ney",
}
COUNTED_TOKENS = 5_000_000
"""The counts are of this much of the training text at most."""


def show_bits_per_byte(
    text: PretrainingText,
    heldout: TokenizedCorpus,
    metrics: Mapping[str, float],
    windows: str,
    log: Callable[[str], None],
) -> None:
    """Prints the held-out bits per byte among those of n-grams of the training text and of compressors.

    heldout: the documents that the metrics are of. windows: how they were read, to be said with the perplexity.
    """
    size = sum(map(len, _documents(heldout, text.tokenizer)))
    log(
        f"\nbits per byte of held-out text, {size:,} bytes in {len(heldout.hashes):,} documents (compressors see "
        "nothing but this text):"
    )
    rows = {
        **n_gram_bits(text, heldout),
        **compressed_bits(heldout, text.tokenizer),
        f"this model, perplexity {metrics['perplexity']:.1f} per token, {windows}": metrics["bits_per_byte"],
    }
    for name, bits in sorted(rows.items(), key=lambda row: -row[1]):
        log(f"  {bits:6.3f}  {name}")


def n_gram_bits(text: PretrainingText, heldout: TokenizedCorpus) -> dict[str, float]:
    """Bits per byte that n-grams fitted to the training documents need, by name."""
    size = text.tokenizer.vocab_size
    lengths = np.cumsum(text.training_corpus.document_lengths)
    counted = text.training_corpus.select(np.arange(max(1, np.searchsorted(lengths, COUNTED_TOKENS))))
    bytes_of = token_bytes(text.tokenizer)
    total = sum(int(bytes_of[heldout.document(index)].sum()) for index in range(len(heldout.hashes)))
    return {
        name: float(
            NGrams(counted, order, size, text.tokenizer.special).nats(heldout).sum() / np.log(2) / total
        )
        for order, name in ORDERS.items()
        if size**order < 2**63
    }


def compressed_bits(heldout: TokenizedCorpus, tokenizer: Tokenizer) -> dict[str, float]:
    """Bits per byte of general compressors, by name; documents are divided by a line break, which is not counted."""
    documents = _documents(heldout, tokenizer)
    data, size = b"\n".join(documents), sum(map(len, documents))
    packed = {"bz2": bz2.compress(data), "lzma": lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)}
    return {name: 8 * len(content) / size for name, content in packed.items()}


def _documents(corpus: TokenizedCorpus, tokenizer: Tokenizer) -> list[bytes]:
    """The text that the tokens stand for, by document."""
    return [b"".join(tokenizer.piece_bytes(corpus.document(index))) for index in range(len(corpus.hashes))]
