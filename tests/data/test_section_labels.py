"""Sentences of the documentation with the section that they are from, held out as in pretraining."""

from collections import Counter

import numpy as np
import pytest

from ssl_jax.data import pydocs, section_labels
from ssl_jax.data.corpus import HELDOUT_SEED, split, tokenize_corpus
from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.data.pydocs import Sentence
from ssl_jax.data.tokenizers import train_sentencepiece

HEADERS = ("", "parameters", "args", "returns", "yields", "notes", "examples", "raises")
EXPECTED = ("summary", "parameters", "parameters", "returns", "returns", "notes", None, None)


@pytest.fixture
def documents(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path))
    chance = np.random.default_rng(0)

    def word():
        return "".join(chance.choice([*"abcdefgh"], 6))

    made = [
        [Sentence(f"Sentence {word()} {word()} below it.", header) for header in HEADERS] for _ in range(200)
    ]
    made += [[Sentence(f"Only a summary {word()}.", "") for _ in range(4)]]
    made += [
        [Sentence("The same sentence once.", "notes"), Sentence(f"And {word()}.", "returns")]
        for _ in range(3)
    ]
    monkeypatch.setattr(pydocs, "read_packages", lambda: [pydocs.Document(each, [], []) for each in made])
    return made


def test_labels_come_from_the_headers(documents, monkeypatch):
    monkeypatch.setattr(section_labels, "balanced", lambda examples, most=None: examples)
    train, heldout = section_labels.section_sentences()
    found = {example.text: example.label for example in [*train, *heldout]}
    expected = {
        sentence.text: label
        for document in documents[:200]
        for sentence, label in zip(document, EXPECTED, strict=True)
        if label
    }
    assert expected.items() <= found.items()
    others = found.keys() - expected.keys()
    assert [found[text] for text in sorted(others)] == ["returns"] * 3 + ["notes"]
    assert len(found) == len(train) + len(heldout)  # none is there twice


def test_each_section_has_as_many_sentences(documents, monkeypatch):
    monkeypatch.setattr(section_labels, "LABELLED", 30)
    for part, least, most in zip(section_labels.section_sentences(), (30, 2), (30, 20), strict=True):
        counts = Counter(example.label for example in part)
        assert {*counts} == {*section_labels.SECTIONS}
        assert len({*counts.values()}) == 1
        assert least <= counts["notes"] <= most


def test_what_pretraining_holds_out_is_held_out(documents):
    source = pydocs.PyDocs()
    sentences = [sentence for document in source for sentence in document]
    corpus = tokenize_corpus(source, train_sentencepiece(sentences, 100))
    _, pretraining = split(corpus, TextConfig.heldout_share, HELDOUT_SEED)
    train, heldout = section_labels.section_sentences()
    of_train, of_heldout = ({int(example.document) for example in part} for part in (train, heldout))
    assert of_heldout <= {*pretraining.hashes.tolist()}
    assert not of_train & {*pretraining.hashes.tolist()}
    assert 3 <= len(of_heldout) <= 30
