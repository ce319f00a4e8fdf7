"""Rows of tokens in which a word is marked, and sentences of other text."""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import HELDOUT_SEED, document_hash, is_heldout
from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.data.ragged import Ragged, Rows
from ssl_jax.data.sources import open_source
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError

IN_WORD, IN_CONTEXT = 1, 0
"""Values of `word` in a row: at a piece of the word, and at another piece of the text. Special tokens have -1."""
_DOCUMENTS = 10_000
"""Documents that sentences are taken from, at most."""
_SHORTEST = 5
"""Words of a sentence, at least."""


def pieces_of(offsets: np.ndarray, start: int, end: int) -> np.ndarray:
    """The numbers of the tokens that stand for some of the characters from `start` to `end`, int `[pieces]`.

    Args:
      offsets: int `[tokens, 2]`, see `ssl_jax.data.offsets.Encoded`.
    """
    starts, ends = offsets[:, 0], offsets[:, 1]
    return np.flatnonzero((starts < end) & (ends > start) & (ends > starts))


def word_rows(
    texts: Sequence[str], spans: Sequence[tuple[int, int]], tokenizer: Tokenizer, length: int
) -> Rows:
    """Rows `[CLS] text [SEP]` with `word [length]`, which marks a word by its pieces. Of a long text, the part around
    the word is taken.

    Args:
      texts: the sentences.
      spans: where the word is in each, in characters.
      tokenizer: of the model.
      length: tokens of a row, at most; rows are padded to the longest of them.

    Raises:
      UserError: the vocabulary has no piece of a word, or a word is longer than a row.
    """
    tokens, marks = [], []
    for text, (start, end), found in zip(texts, spans, tokenizer.encode_with_offsets(texts), strict=True):
        pieces = pieces_of(found.offsets, start, end)
        ids = np.asarray(found.ids, np.int64)
        if not len(pieces) or np.all(ids[pieces] == tokenizer.special.unk):
            raise UserError(
                f"the word {text[start:end]!r} is unknown: the model's vocabulary has no pieces for it (in "
                f"{text[:80]!r}). Choose another word, or a model whose vocabulary has it."
            )
        if pieces[-1] - pieces[0] >= length - 2:
            raise UserError(
                f"the word {text[start:end]!r} has {len(pieces)} pieces; expected at most {length - 2}, what a row has "
                f"room for. Choose another word, or a longer --length."
            )
        mark = np.full(len(ids), IN_CONTEXT)
        mark[pieces] = IN_WORD
        before = (length - 2 - (pieces[-1] - pieces[0] + 1)) // 2
        first = max(0, min(pieces[0] - before, len(ids) - (length - 2)))
        kept = slice(first, first + length - 2)
        tokens.append([tokenizer.special.cls, *ids[kept], tokenizer.special.sep])
        marks.append([-1, *mark[kept], -1])
    ragged = Ragged.of(tokens)
    return Rows(
        ragged,
        ragged.lengths,
        int(ragged.lengths.max()),
        tokenizer.special.pad,
        labels={},
        token_labels={"word": Ragged.of(marks).values},
    )


def text_rows(texts: Sequence[str], tokenizer: Tokenizer, length: int) -> Rows:
    """Rows `[CLS] text [SEP]` in which all of the text is marked; texts are cut off, and empty ones left out.

    Args:
      texts, tokenizer, length: as in `word_rows`.
    """
    special = tokenizer.special
    encoded = [ids[: length - 2] for ids in tokenizer.encode_batch(texts) if ids]
    ragged = Ragged.of([[special.cls, *ids, special.sep] for ids in encoded])
    marks = Ragged.of([[-1, *[IN_WORD] * len(ids), -1] for ids in encoded])
    longest = int(ragged.lengths.max())
    return Rows(ragged, ragged.lengths, longest, special.pad, labels={}, token_labels={"word": marks.values})


def sample_sentences(spec: str, count: int) -> tuple[list[str], list[str]]:
    """(training, held-out) sentences of a corpus: the first ones of each document, of as many documents as possible.

    Documents are in a random order that is always the same, and held out as in pretraining.

    Args:
      spec: of the corpus, as `open_source` takes it.
      count: of each part, at most.

    Raises:
      UserError: the source cannot be opened, or a part has no sentence of five words.
    """
    source = open_source(spec)
    order = np.random.default_rng(HELDOUT_SEED).permutation(len(source))[:_DOCUMENTS]
    documents = [source[int(number)] for number in order]
    hashes = np.frombuffer(b"".join(map(document_hash, documents)), "<u8")
    heldout = is_heldout(hashes, TextConfig.heldout_share, HELDOUT_SEED, source.name)
    parts: tuple[list[str], list[str]] = ([], [])
    for part, own in zip(parts, (~heldout, heldout), strict=True):
        each = -(-count // int(own.sum()))
        for number in np.flatnonzero(own):
            long = [text for text in documents[number] if len(text.split()) >= _SHORTEST]
            part.extend(long[:each])
        if not part:
            raise UserError(f"text {spec!r}: has no sentence of {_SHORTEST} words or more; give more text.")
    return parts[0][:count], parts[1][:count]
