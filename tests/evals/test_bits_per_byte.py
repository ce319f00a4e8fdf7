"""Bits per byte of n-gram baselines and of compressors, against their definition."""

import bz2
import lzma

import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.evals import bits_per_byte
from ssl_jax.evals.ngram_baselines import KneserNey
from tests.corpora import corpus_of

DOCUMENTS = [
    f"The {word} number {i} is ≥ the {word} number {i * i}." for word in ("first", "next") for i in range(80)
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(DOCUMENTS, 330, byte_fallback=True)


def tokenized(texts: list[str], tokenizer) -> TokenizedCorpus:
    of_text = np.array([len(text.encode()) for text in texts])
    return corpus_of(*tokenizer.encode_batch(texts))._replace(text_bytes=of_text)


def test_compressors_are_given_the_text_and_divided_by_its_bytes():
    found = bits_per_byte.compressed_bits([document.encode() for document in DOCUMENTS[-20:]])
    data = "\n".join(DOCUMENTS[-20:]).encode()
    size = len(data) - 19
    assert found["bz2"] == 8 * len(bz2.compress(data)) / size
    assert found["lzma"] == pytest.approx(8 * len(lzma.compress(data, preset=9)) / size, rel=0.02)


def test_n_grams_pay_for_the_ends_of_documents_too(tokenizer):
    training, heldout = tokenized(DOCUMENTS[:-20], tokenizer), tokenized(DOCUMENTS[-20:], tokenizer)
    size = sum(len(document.encode()) for document in DOCUMENTS[-20:])
    found = bits_per_byte.ngram_bits(training, heldout, tokenizer)
    assert tuple(found) == bits_per_byte.ORDERS
    nats = KneserNey(training, 2, tokenizer.vocab_size, tokenizer.special).nats(heldout)
    assert len(nats) == heldout.document_lengths.sum() + 20
    assert found[2] == pytest.approx(nats.sum() / np.log(2) / size)


def test_orders_without_numbers_are_left_out(tokenizer, monkeypatch):
    corpus = tokenized(DOCUMENTS[:4], tokenizer)
    monkeypatch.setattr(bits_per_byte, "ORDERS", (1, 7, 8))
    assert 330**7 < 2**63 < 330**8
    assert tuple(bits_per_byte.ngram_bits(corpus, corpus, tokenizer)) == (1, 7)
