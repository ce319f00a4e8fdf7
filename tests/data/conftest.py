"""Corpora made of numbers, so that every token of an example can be traced to its place."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssl_jax.data.corpus import TokenizedCorpus


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def in_a_new_process():
    def run(code: str, tfds_folder: Path) -> tuple[str, str]:
        """What Python code prints, and its complaints."""
        environment = os.environ | {"TFDS_DATA_DIR": str(tfds_folder)}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.stdout, done.stderr

    return run


@pytest.fixture(scope="session")
def make_corpus():
    def make(documents: list[list[list[int]]]) -> TokenizedCorpus:
        sentences = [sentence for document in documents for sentence in document]
        ends = np.cumsum([len(document) for document in documents])
        return TokenizedCorpus(
            name="made up",
            fingerprint="0",
            tokens=np.array([token for sentence in sentences for token in sentence], np.int32),
            sentence_offsets=np.cumsum([0] + [len(sentence) for sentence in sentences]),
            first_sentence=np.concatenate([[0], ends[:-1]]),
            end_sentence=ends,
            hashes=np.arange(len(documents), dtype=np.uint64),
            text_bytes=np.array([sum(map(len, document)) for document in documents]),
            source_index=np.arange(len(documents)),
        )

    return make


@pytest.fixture(scope="session")
def numbered_corpus(make_corpus):
    """Documents with sentences of the given lengths; the token at place i of the corpus is i + 5."""

    def make(lengths: list[list[int]]) -> TokenizedCorpus:
        places = iter(range(5, 10**9))
        return make_corpus([[[next(places) for _ in range(n)] for n in document] for document in lengths])

    return make
