"""Segment pairs for BERT (NSP) and ALBERT (SOP): an example is a function of (row, random generator).

A row corresponds to a part of one document. An example draws a boundary between two sentences there, the junction.
Whole sentences before it (A) and after it (B) fill the row. Nothing but the content of the two segments reveals the
label:

- Junctions are drawn independently of sentence lengths. If documents were cut greedily, each chunk ending before the
  first sentence that does not fit, the first sentence of a chunk would be longer than average and reveal the order.
- NSP: the random B starts at a junction of another document, is made by the same rule as the true B, and has exactly
  its length. It is chosen before the label is drawn, and the row is drawn again if there is none.
- SOP: the rule that makes A mirrors the rule that makes B.
- A sentence longer than its share of the row is replaced by a random window of it, in either segment.

An epoch has about as many tokens as the corpus, but not each token exactly once: windows overlap and leave gaps, which
differ in every epoch. Each sentence boundary of a document is equally often its junction.
"""

from typing import Literal, NamedTuple

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import SpecialTokens
from ssl_jax.errors import UserError

PairObjective = Literal["nsp", "sop"]

_PLACES = (
    16  # of the corpus, in which a random B is looked for at once; each costs a few reads of distant memory
)
_JUNCTIONS = 8  # drawn at each place
_ATTEMPTS = 8  # to find two B's of equal length, before one of them is truncated


class _Run(NamedTuple):
    """A range of `corpus.tokens`: whole sentences, or a window of one sentence (`cut`)."""

    start: int
    end: int
    cut: bool

    @property
    def length(self) -> int:
        return self.end - self.start


def _places(rows: int, rng: np.random.Generator) -> np.ndarray:
    """Random numbers below `rows`, each of them `_JUNCTIONS` times."""
    return np.repeat(rng.integers(rows, size=_PLACES), _JUNCTIONS)


def rows_of(tokens: np.ndarray, length: int) -> np.ndarray:
    """How many rows of `length` tokens documents of so many tokens have, int64."""
    return np.maximum(1, np.round(tokens / (length - 3)).astype(np.int64))


class SegmentPairs:
    """Rows `[CLS] A [SEP] B [SEP]` of a fixed length from a tokenised corpus.

    An epoch has `len(pairs)` rows. The example `pairs(row, rng)` depends only on the row's number and the random
    numbers of `rng`; use `grain.MapDataset.range(len(pairs)).shuffle().repeat().random_map(pairs)`.

    Args:
      corpus: documents; those of one sentence have no pair and are left out.
      length: tokens per row, at least 16.
      special: ids of the special tokens.
      starts_word: bool `[vocab_size]`, whether a token begins a word.
      objective: "nsp": B follows A (label 0) or comes from another document (label 1), arXiv:1810.04805. "sop": A and B
        in order (0) or swapped (1), arXiv:1909.11942.
      short_sequence_probability: share of examples with a shorter row, of uniformly random length, so that the model
        also learns from short texts.
      rows: int `[documents]`, rows of each document of two sentences or more; None for as many as its tokens fill.

    Raises:
      UserError: the corpus has no pair of sentences, or (NSP) fewer than two documents that have one.
    """

    def __init__(
        self,
        corpus: TokenizedCorpus,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        objective: PairObjective = "nsp",
        short_sequence_probability: float = 0.1,
        rows: np.ndarray | None = None,
    ):
        if length < 16:
            raise UserError(
                f"a sequence length of {length} is too short for segment pairs; expected at least 16."
            )
        usable = corpus.end_sentence - corpus.first_sentence > 1
        needed = 2 if objective == "nsp" else 1
        if usable.sum() < needed:
            raise UserError(
                f"data source {corpus.name!r}: {usable.sum()} document(s) with two sentences or more in this split; "
                f"{objective} needs {needed}. Give more text, or check the format: in 'lines' each line is a sentence "
                "and a blank line ends a document; 'raw' is prose."
            )
        self._corpus = corpus.select(usable)
        self._tokens, self._offsets = corpus.tokens, corpus.sentence_offsets
        self._first, self._end = self._corpus.first_sentence, self._corpus.end_sentence
        self._length, self._special, self._starts_word = length, special, starts_word
        self._objective, self._short = objective, short_sequence_probability
        rows = rows_of(self._corpus.document_lengths, length) if rows is None else rows
        self._rows = np.concatenate([[0], np.cumsum(rows)])  # document d has rows _rows[d] to _rows[d + 1]

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An example: int32 `tokens`, `token_type_ids`, `segment_ids` and `words`, all `[length]`, `label []`, and
        `vocab_size []`, the number of the tokenizer's ids.
        """
        lay = self._next_sentence if self._objective == "nsp" else self._sentence_order
        first, second, label = lay(row, rng)
        return self._assemble(first, second, label)

    def _junctions(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draws the junction of each row: its document, and the sentence that begins B, uniform and stratified over
        rows.
        """
        documents = np.searchsorted(self._rows, rows, side="right") - 1
        within = rows - self._rows[documents] + rng.random(len(rows))
        share = within / (self._rows[documents + 1] - self._rows[documents])
        boundaries = self._end[documents] - self._first[documents] - 1
        return documents, self._first[documents] + 1 + (share * boundaries).astype(np.int64)

    def _budget(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draws the number of tokens of both segments, and the share of B if neither side of the document is short."""
        total = self._length - 3
        if rng.random() < self._short:
            total = int(rng.integers(8, total + 1))
        return total, int(rng.integers(total // 4, total - total // 4 + 1))

    def _after(self, junction: int, end: int, limit: int, rng: np.random.Generator) -> _Run:
        """The most whole sentences from the junction on that fit into `limit` tokens."""
        offsets = self._offsets
        start = int(offsets[junction])
        stop = int(np.searchsorted(offsets[junction : end + 1], start + limit, side="right")) + junction - 1
        if stop == junction:
            return self._window(junction, limit, rng)
        return _Run(start, int(offsets[stop]), cut=False)

    def _before(self, junction: int, first: int, limit: int, rng: np.random.Generator) -> _Run:
        """The most whole sentences before the junction that fit into `limit` tokens."""
        offsets = self._offsets
        end = int(offsets[junction])
        start = int(np.searchsorted(offsets[first : junction + 1], end - limit, side="left")) + first
        if start == junction:
            return self._window(junction - 1, limit, rng)
        return _Run(int(offsets[start]), end, cut=False)

    def _window(self, sentence: int, limit: int, rng: np.random.Generator) -> _Run:
        start, end = self._offsets[sentence : sentence + 2]
        start = int(rng.integers(start, end - limit + 1))
        return _Run(start, start + limit, cut=True)

    def _next_sentence(self, row: int, rng: np.random.Generator) -> tuple[_Run, _Run, int]:
        for _ in range(_ATTEMPTS):
            total, share = self._budget(rng)
            documents, junctions = self._junctions(np.array([row]), rng)
            document, junction = int(documents[0]), int(junctions[0])
            first, end = int(self._first[document]), int(self._end[document])
            limit = max(share, total - int(self._offsets[junction] - self._offsets[first]))
            true = self._after(junction, end, limit, rng)
            other = self._equally_long(document, true, limit, rng)
            if (other.length, other.cut) == (true.length, true.cut):
                break
        length = min(true.length, other.length)
        label = int(rng.integers(2))
        start = (true, other)[label].start
        before = self._before(junction, first, total - length, rng)
        return before, _Run(start, start + length, cut=True), label

    def _equally_long(self, document: int, true: _Run, limit: int, rng: np.random.Generator) -> _Run:
        """A possible result of `_after` in another document, with the length and `cut` of `true`, or the nearest to
        that.
        """
        documents, junctions = self._junctions(_places(len(self), rng), rng)
        if (documents == document).all():  # it has nearly all of the text
            outside = _places(len(self) - (self._rows[document + 1] - self._rows[document]), rng)
            outside += np.where(
                outside >= self._rows[document], self._rows[document + 1] - self._rows[document], 0
            )
            documents, junctions = self._junctions(outside, rng)
        starts = self._offsets[junctions]
        ends = np.minimum(
            np.searchsorted(self._offsets, starts + limit, side="right") - 1, self._end[documents]
        )
        cut = ends == junctions
        lengths = np.where(cut, limit, self._offsets[ends] - starts)
        distance = (
            np.abs(lengths - true.length) + (cut != true.cut) + (documents == document) * 2 * self._length
        )
        nearest = int(np.argmin(distance))
        if cut[nearest]:
            return self._window(int(junctions[nearest]), limit, rng)
        return _Run(int(starts[nearest]), int(starts[nearest] + lengths[nearest]), cut=False)

    def _sentence_order(self, row: int, rng: np.random.Generator) -> tuple[_Run, _Run, int]:
        total, share = self._budget(rng)
        documents, junctions = self._junctions(np.array([row]), rng)
        first, junction, end = int(self._first[documents[0]]), int(junctions[0]), int(self._end[documents[0]])
        before, middle, after = (int(self._offsets[s]) for s in (first, junction, end))
        if rng.random() < 0.5:  # the side made first leaves the rest of the budget to the other
            a = self._before(junction, first, max(share, total - (after - middle)), rng)
            b = self._after(junction, end, total - a.length, rng)
        else:
            b = self._after(junction, end, max(share, total - (middle - before)), rng)
            a = self._before(junction, first, total - b.length, rng)
        return (b, a, 1) if rng.integers(2) else (a, b, 0)

    def _assemble(self, first: _Run, second: _Run, label: int) -> dict[str, np.ndarray]:
        a, b = self._tokens[first.start : first.end], self._tokens[second.start : second.end]
        separator, end = len(a) + 1, len(a) + len(b) + 2
        tokens = np.full(self._length, self._special.pad, np.int32)
        tokens[0], tokens[separator], tokens[end] = self._special.cls, self._special.sep, self._special.sep
        tokens[1:separator], tokens[separator + 1 : end] = a, b
        token_type_ids = np.zeros(self._length, np.int32)
        token_type_ids[separator + 1 : end + 1] = 1
        segment_ids = np.zeros(self._length, np.int32)
        segment_ids[: end + 1] = 1
        starts = self._starts_word[tokens]
        starts[[1, separator + 1]] = True
        starts[[0, separator]] = False
        words = np.cumsum(starts, dtype=np.int32) - 1
        words[[0, separator]] = -1
        words[end:] = -1
        return {
            "tokens": tokens,
            "token_type_ids": token_type_ids,
            "segment_ids": segment_ids,
            "words": words,
            "label": np.asarray(label, np.int32),
            "vocab_size": np.asarray(len(self._starts_word), np.int32),
        }
