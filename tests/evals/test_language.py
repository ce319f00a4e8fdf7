"""Bits per byte of counting and of compressors, and the table that they are shown in."""

import bz2
import lzma
from types import SimpleNamespace

import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import train_sentencepiece
from ssl_jax.evals import language
from ssl_jax.evals.ngrams import NGrams

DOCUMENTS = [
    f"The {word} number {i} is ≥ the {word} number {i * i}." for word in ("first", "next") for i in range(80)
]


@pytest.fixture(scope="module")
def tokenizer():
    return train_sentencepiece(DOCUMENTS, 330, byte_fallback=True)


def corpus_of(texts: list[str], tokenizer) -> TokenizedCorpus:
    encoded = tokenizer.encode_batch(texts)
    places = np.arange(len(texts))
    offsets = np.cumsum([0, *map(len, encoded)])
    return TokenizedCorpus(
        "text", "0", np.concatenate(encoded), offsets, places, places + 1, places.astype(np.uint64)
    )


@pytest.fixture(scope="module")
def text(tokenizer):
    return SimpleNamespace(training_corpus=corpus_of(DOCUMENTS[:-20], tokenizer), tokenizer=tokenizer)


def test_compressors_are_given_the_text_and_divided_by_its_bytes(tokenizer):
    found = language.compressed_bits(corpus_of(DOCUMENTS[-20:], tokenizer), tokenizer)
    data = "\n".join(f" {document}" for document in DOCUMENTS[-20:]).encode()
    size = len(data) - 19
    assert found["bz2"] == 8 * len(bz2.compress(data)) / size
    assert found["lzma"] == pytest.approx(8 * len(lzma.compress(data, preset=9)) / size, rel=0.02)


def test_n_grams_pay_for_the_ends_of_documents_too(text):
    heldout = corpus_of(DOCUMENTS[-20:], text.tokenizer)
    size = sum(len(f" {document}".encode()) for document in DOCUMENTS[-20:])
    found = language.n_gram_bits(text, heldout)
    assert set(found) == set(language.ORDERS.values())
    nats = NGrams(text.training_corpus, 2, text.tokenizer.vocab_size, text.tokenizer.special).nats(heldout)
    assert len(nats) == heldout.document_lengths.sum() + 20
    assert found[language.ORDERS[2]] == pytest.approx(nats.sum() / np.log(2) / size)


def test_the_table_is_in_order(text):
    said = []
    heldout = corpus_of(DOCUMENTS[-20:], text.tokenizer)
    metrics = {"bits_per_byte": 1.234, "perplexity": 56.78}
    language.show_bits_per_byte(text, heldout, metrics, "windows of 8 tokens, stride 4", said.append)
    size = sum(len(f" {document}".encode()) for document in DOCUMENTS[-20:])
    assert f"{size:,} bytes in 20 documents" in said[0]
    assert "   1.234  this model, perplexity 56.8 per token, windows of 8 tokens, stride 4" in said
    bits = [float(line.split()[0]) for line in said[1:]]
    assert len(bits) == 7
    assert bits == sorted(bits, reverse=True)
