"""Rows of text as the noises for sequence-to-sequence pretraining take them."""

import functools
import itertools
from typing import NamedTuple

import numpy as np

PAD, BOS, EOS, MASK, FIRST, VOCAB = 0, 2, 3, 4, 10, 1000
LENGTH, BATCH = 24, 512  # of all batches, so that a noise is compiled once


class Rows(NamedTuple):
    """`[batch, length]` each; the fields of `ssl_jax.transforms.denoising`."""

    tokens: np.ndarray
    present: np.ndarray
    words: np.ndarray
    sentences: np.ndarray


def row(sentences):
    """A row, `[length]` each, of sentences given as lists of words, and these as lists of tokens."""
    words = [(s, word) for s, sentence in enumerate(sentences) for word in sentence]
    text = [(token, w, s) for w, (s, word) in enumerate(words) for token in word]
    made = np.full((3, LENGTH), -1, np.int32)
    made[0] = PAD
    made[:, : len(text) + 2] = np.array([(BOS, -1, -1), *text, (EOS, -1, -1)]).T
    return Rows(made[0], np.arange(LENGTH) < len(text) + 2, made[1], made[2])


def numbered(*sizes):
    """Sentences of words of so many tokens, `((1, 2), (3,))`; all tokens are different."""
    numbers = itertools.count(FIRST)
    return [[[next(numbers) for _ in range(size)] for size in sentence] for sentence in sizes]


def copies(sentences):
    """A batch of the same row."""
    return Rows(*(np.tile(field, (BATCH, 1)) for field in row(sentences)))


@functools.lru_cache(64)
def random_rows(seed):
    """A batch of rows of every size: empty, without text, full. Tokens of a row differ; one of them may be 0."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(BATCH):
        size = i % (LENGTH - 1) if i % 3 else LENGTH - 2  # every third row is full
        tokens = rng.choice(np.arange(FIRST, VOCAB), size, replace=False)
        if size and i % 5 == 0:
            tokens[rng.integers(size)] = 0
        new_sentence = rng.random(size) < 0.2
        new_word = (rng.random(size) < 0.6) | new_sentence
        sentences = []
        for t, token in enumerate(tokens.tolist()):
            if t == 0 or new_sentence[t]:
                sentences.append([])
            if t == 0 or new_word[t]:
                sentences[-1].append([])
            sentences[-1][-1].append(token)
        made.append(row(sentences))
    batch = Rows(*(np.stack(field) for field in zip(*made, strict=True)))
    batch.tokens[-1], batch.present[-1], batch.words[-1], batch.sentences[-1] = PAD, False, -1, -1
    return batch


def texts(rows):
    """The tokens of the text of every row, as lists."""
    return [tokens[words >= 0].tolist() for tokens, words in zip(rows.tokens, rows.words, strict=True)]


def sources(corrupted):
    """What the encoder reads of every row, as lists without padding; checks that padding stands behind."""
    assert (np.diff(corrupted.source_present.astype(int), axis=1) <= 0).all()
    assert (corrupted.source[~corrupted.source_present] == PAD).all()
    return [
        source[used].tolist() for source, used in zip(corrupted.source, corrupted.source_present, strict=True)
    ]
