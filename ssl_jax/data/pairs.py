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

Rows are made by the batch, since a row by itself takes five times as long. Each draws from a generator of its own,
in an order that does not depend on the others.
"""

from collections.abc import Sequence
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


class _Runs(NamedTuple):
    """A range of `corpus.tokens` for each row: whole sentences, or a window of one sentence (`cut`)."""

    start: np.ndarray
    end: np.ndarray
    cut: np.ndarray

    @property
    def length(self) -> np.ndarray:
        return self.end - self.start


Generators = Sequence[np.random.Generator]
"""One for each row."""


def rows_of(tokens: np.ndarray, length: int) -> np.ndarray:
    """How many rows of `length` tokens documents of so many tokens have, int64."""
    return np.maximum(1, np.round(tokens / (length - 3)).astype(np.int64))


class SegmentPairs:
    """Rows `[CLS] A [SEP] B [SEP]` of a fixed length from a tokenised corpus.

    An epoch has `len(pairs)` rows. The example `pairs(row, rng)` depends only on the row's number and the random
    numbers of `rng`; use `EndlessRows`.

    Args:
      corpus: documents; those of one sentence have no pair and are left out.
      length: tokens per row, at least 16.
      special: ids of the special tokens.
      starts_word: bool `[vocab_size]`, whether a token begins a word.
      objective: "nsp": B follows A (label 0) or comes from another document (label 1), arXiv:1810.04805. "sop": A and B
        in order (0) or swapped (1), arXiv:1909.11942.
      short_sequence_probability: share of examples with a shorter row, of uniformly random length, so that the model
        also learns from short texts.
      rows: int `[documents]`, rows of each document; None for as many as its tokens fill.
      groups: int `[documents]`, ascending: NSP looks for the random B in documents of the same group; None for all.
        With `rows` and `groups`, each document has two sentences or more.

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
        groups: np.ndarray | None = None,
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
        groups = np.zeros(len(rows), np.int64) if groups is None else groups
        self._begin_group, self._end_group = (
            self._rows[np.searchsorted(groups, groups, side)] for side in ("left", "right")
        )

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An example: int32 `tokens`, `token_type_ids`, `segment_ids` and `words`, all `[length]`, `label []`, and
        `vocab_size []`, the number of the tokenizer's ids.
        """
        return {name: np.asarray(array[0]) for name, array in self.stack(np.array([row]), [rng]).items()}

    def stack(self, rows: np.ndarray, rngs: Generators) -> dict[str, np.ndarray]:
        """The examples of several rows, stacked; each as `pairs(row, rng)` makes it."""
        lay = self._next_sentence if self._objective == "nsp" else self._sentence_order
        return self._assemble(*lay(rows, rngs))

    def _documents(self, rows: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._rows, rows, side="right") - 1

    def _junctions(self, rows: np.ndarray, documents: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """The junction of each row, the sentence that begins B: uniform and stratified over the rows of a document."""
        within = rows - self._rows[documents] + uniform
        share = within / (self._rows[documents + 1] - self._rows[documents])
        boundaries = self._end[documents] - self._first[documents] - 1
        return self._first[documents] + 1 + (share * boundaries).astype(np.int64)

    def _budget(self, rng: np.random.Generator) -> tuple[int, int]:
        """Draws the number of tokens of both segments, and the share of B if neither side of the document is short."""
        total = self._length - 3
        if rng.random() < self._short:
            total = int(rng.integers(8, total + 1))
        return total, int(rng.integers(total // 4, total - total // 4 + 1))

    def _begin(self, rows: np.ndarray, rngs: Generators) -> tuple[np.ndarray, ...]:
        """Draws (total, share, junction) of each row; returns them and (document, first, end), its sentences."""
        drawn = [(*self._budget(rng), rng.random()) for rng in rngs]
        total, share = (np.array([each[i] for each in drawn], np.int64) for i in (0, 1))
        documents = self._documents(rows)
        junctions = self._junctions(rows, documents, np.array([each[2] for each in drawn]))
        return total, share, junctions, documents, self._first[documents], self._end[documents]

    def _after(self, junctions: np.ndarray, end: np.ndarray, limit: np.ndarray, rngs: Generators) -> _Runs:
        """The most whole sentences from the junction on that fit into `limit` tokens."""
        starts = self._offsets[junctions]
        stops = np.minimum(np.searchsorted(self._offsets, starts + limit, side="right") - 1, end)
        return self._runs(starts, self._offsets[stops], stops == junctions, junctions, limit, rngs)

    def _before(self, junctions: np.ndarray, first: np.ndarray, limit: np.ndarray, rngs: Generators) -> _Runs:
        """The most whole sentences before the junction that fit into `limit` tokens."""
        ends = self._offsets[junctions]
        starts = np.maximum(np.searchsorted(self._offsets, ends - limit, side="left"), first)
        return self._runs(self._offsets[starts], ends, starts == junctions, junctions - 1, limit, rngs)

    def _runs(
        self,
        starts: np.ndarray,
        ends: np.ndarray,
        cut: np.ndarray,
        sentences: np.ndarray,
        limit: np.ndarray,
        rngs: Generators,
    ) -> _Runs:
        """Whole sentences; where `cut`, a random window of the sentence of `sentences` in their place."""
        starts = starts.copy()
        for row in np.flatnonzero(cut):
            start, end = self._offsets[sentences[row] : sentences[row] + 2]
            starts[row] = rngs[row].integers(start, end - limit[row] + 1)
        return _Runs(starts, np.where(cut, starts + limit, ends), cut)

    def _next_sentence(self, rows: np.ndarray, rngs: Generators) -> tuple[_Runs, _Runs, np.ndarray]:
        made = np.zeros((6, len(rows)), np.int64)
        left = np.arange(len(rows))
        for _ in range(_ATTEMPTS):
            own = [rngs[row] for row in left]
            total, share, junctions, documents, first, end = self._begin(rows[left], own)
            limit = np.maximum(share, total - (self._offsets[junctions] - self._offsets[first]))
            true = self._after(junctions, end, limit, own)
            other = self._equally_long(documents, true, limit, own)
            length = np.minimum(true.length, other.length)
            made[:, left] = total, first, junctions, length, true.start, other.start
            left = left[(other.length != true.length) | (other.cut != true.cut)]
            if not len(left):
                break
        total, first, junctions, length, true, other = made
        label = np.array([rng.integers(2) for rng in rngs])
        start = np.where(label, other, true)
        before = self._before(junctions, first, total - length, rngs)
        return before, _Runs(start, start + length, np.ones(len(rows), bool)), label

    def _equally_long(self, documents: np.ndarray, true: _Runs, limit: np.ndarray, rngs: Generators) -> _Runs:
        """Possible results of `_after` in other documents, with the length and `cut` of `true`, or the nearest to
        that.
        """
        begin, rows = self._begin_group[documents], (self._end_group - self._begin_group)[documents]
        drawn = [
            (rng.integers(count, size=_PLACES), rng.random((_PLACES, _JUNCTIONS)))
            for count, rng in zip(rows, rngs, strict=True)
        ]
        places = np.stack([each[0] for each in drawn]) + begin[:, None]
        others = self._documents(places)
        for row in np.flatnonzero((others == documents[:, None]).all(1)):  # it has nearly all of the text
            before, end = self._rows[documents[row] : documents[row] + 2]
            outside = begin[row] + rngs[row].integers(rows[row] - (end - before), size=_PLACES)
            places[row] = outside + np.where(outside >= before, end - before, 0)
            others[row] = self._documents(places[row])
            drawn[row] = outside, rngs[row].random((_PLACES, _JUNCTIONS))
        uniform = np.stack([each[1] for each in drawn])
        places, others = places[..., None], others[..., None]
        junctions = self._junctions(places, others, uniform)
        starts = self._offsets[junctions]
        ends = np.minimum(
            np.searchsorted(self._offsets, starts + limit[:, None, None], side="right") - 1, self._end[others]
        )
        cut = ends == junctions
        lengths = np.where(cut, limit[:, None, None], self._offsets[ends] - starts)
        distance = np.abs(lengths - true.length[:, None, None]) + (cut != true.cut[:, None, None])
        distance += (others == documents[:, None, None]) * 2 * self._length
        nearest = np.arange(len(rngs)), distance.reshape(len(rngs), -1).argmin(1)
        starts, lengths, cut, junctions = (
            array.reshape(len(rngs), -1)[nearest] for array in (starts, lengths, cut, junctions)
        )
        return self._runs(starts, starts + lengths, cut, junctions, limit, rngs)

    def _sentence_order(self, rows: np.ndarray, rngs: Generators) -> tuple[_Runs, _Runs, np.ndarray]:
        total, share, junctions, _, first, end = self._begin(rows, rngs)
        before, middle, after = (self._offsets[sentences] for sentences in (first, junctions, end))
        a, b = np.zeros((2, 3, len(rows)), np.int64)
        a_first = np.array([rng.random() < 0.5 for rng in rngs], bool)
        # The side made first leaves the rest of the budget to the other.
        for here in (np.flatnonzero(a_first), np.flatnonzero(~a_first)):
            if not len(here):
                continue
            own, junction = [rngs[row] for row in here], junctions[here]
            if a_first[here[0]]:
                limit = np.maximum(share, total - (after - middle))[here]
                a[:, here] = made = self._before(junction, first[here], limit, own)
                b[:, here] = self._after(junction, end[here], total[here] - made.length, own)
            else:
                limit = np.maximum(share, total - (middle - before))[here]
                b[:, here] = made = self._after(junction, end[here], limit, own)
                a[:, here] = self._before(junction, first[here], total[here] - made.length, own)
        label = np.array([rng.integers(2) for rng in rngs])
        return _Runs(*np.where(label, b, a)), _Runs(*np.where(label, a, b)), label

    def _assemble(self, first: _Runs, second: _Runs, label: np.ndarray) -> dict[str, np.ndarray]:
        position, row = np.arange(self._length), np.arange(len(label))
        separator = 1 + first.length
        end = separator + 1 + second.length
        after, used = position > separator[:, None], position <= end[:, None]
        source = (
            np.where(after, (second.start - separator - 1)[:, None], (first.start - 1)[:, None]) + position
        )
        special = ~used
        special[:, 0] = special[row, separator] = special[row, end] = True
        tokens = self._tokens[np.where(special, 0, source)].astype(np.int32)
        tokens[~used] = self._special.pad
        tokens[:, 0], tokens[row, separator], tokens[row, end] = (
            self._special.cls,
            self._special.sep,
            self._special.sep,
        )
        starts = self._starts_word[tokens]
        starts[:, 1] = starts[row, separator + 1] = True
        starts[:, 0] = starts[row, separator] = False
        words = np.cumsum(starts, 1, dtype=np.int32) - 1
        words[special] = -1
        return {
            "tokens": tokens,
            "token_type_ids": (after & used).astype(np.int32),
            "segment_ids": used.astype(np.int32),
            "words": words,
            "label": label.astype(np.int32),
            "vocab_size": np.full(len(label), len(self._starts_word), np.int32),
        }
