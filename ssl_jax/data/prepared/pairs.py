"""Segment pairs of prepared documents, in constant time whatever the size of the corpus.

Documents are ordered by length in buckets, all documents of which have the same number of rows: those of a document of
mean length. So a row leads to its document by arithmetic on a table of the buckets of each shard, without a list of all
documents. A record is a group of eight documents of a bucket. An example reads the group of its document and another
random one, among which the second segment is found: a group has nothing in common but the length of its documents,
since they are ordered by hash within a bucket.
"""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.pairs import PairObjective, SegmentPairs, rows_of
from ssl_jax.data.prepared.documents import decode_documents
from ssl_jax.data.prepared.manifest import GROUP, Shard
from ssl_jax.data.ragged import offsets_of
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.errors import UserError


class PreparedPairs:
    """Rows of `SegmentPairs`, each of the corpus of its document and `GROUP` others.

    Differs from the rows of the same documents in one corpus in two points: the number of rows of a document is that of
    its bucket, and second segments come from the documents read.

    Args:
      records: groups of documents.
      shards: descriptions of their files, in order.
      dtype: of the tokens.
      length, special, starts_word, objective: as for `SegmentPairs`.

    Raises:
      UserError: there are too few documents of two sentences or more.
    """

    def __init__(
        self,
        records: Sequence[bytes],
        shards: Sequence[Shard],
        dtype: type,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        objective: PairObjective,
    ):
        buckets = np.array([entry for shard in shards for entry in shard["buckets"]], np.int64).reshape(-1, 3)
        if (usable := buckets[:, 1].sum()) < 2:
            raise UserError(
                f"prepared data: {usable} document(s) with two sentences or more; {objective} needs 2. "
                "Prepare more text."
            )
        self._records, self._dtype = records, dtype
        self._shape = (length, special, starts_word, objective)
        kinds, kind = np.unique(buckets[:, 0], return_inverse=True)
        documents, tokens = (np.bincount(kind, buckets[:, i], len(kinds)) for i in (1, 2))
        # Entry i is the documents of one bucket of one shard, each of _rows_each[i] rows, in groups from _first[i] on.
        self._documents, self._rows_each = buckets[:, 1], rows_of(tokens / documents, length)[kind]
        self._first = offsets_of(-(-self._documents // GROUP))
        self._rows = offsets_of(self._rows_each * self._documents)

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An example, see `SegmentPairs`."""
        return {name: np.asarray(array[0]) for name, array in self.stack(np.array([row]), [rng]).items()}

    def stack(self, rows: np.ndarray, rngs: Sequence[np.random.Generator]) -> dict[str, np.ndarray]:
        """The examples of several rows, stacked, made of one corpus of the documents of all."""
        records, chosen, places, repeats, counts = [], [], [], [], []
        documents_read = rows_before = 0
        for row, rng in zip(rows, rngs, strict=True):
            entry, document, share = self._place(int(row))
            group, size = self._group(entry, document)
            other, other_size = self._other_group(group, size, rng)
            records += [self._records[number] for number in dict.fromkeys((group, other))]
            own, start, read = document % GROUP, 0, size
            if other != group:
                start, read = size, size + other_size
            beside = [number for number in range(start, read) if number != own]
            chosen += [documents_read + number for number in (own, *beside)]
            documents_read += read
            # All are drawn equally often, since each has as many rows as the others of its bucket.
            counts.append(1 + len(beside))
            repeats.append(int(self._rows_each[entry]))
            places.append(rows_before + share)
            rows_before += counts[-1] * repeats[-1]
        pairs = SegmentPairs(
            decode_documents(records, self._dtype, "").select(np.array(chosen)),
            *self._shape,
            rows=np.repeat(repeats, counts),
            groups=np.repeat(np.arange(len(rows)), counts),
        )
        return pairs.stack(np.array(places), rngs)

    def _place(self, row: int) -> tuple[int, int, int]:
        """The entry of a row, the number of its document within it, and which row of that it is."""
        entry = int(np.searchsorted(self._rows, row, side="right")) - 1
        return entry, *divmod(row - int(self._rows[entry]), int(self._rows_each[entry]))

    def _group(self, entry: int, document: int) -> tuple[int, int]:
        """The group of a document, and how many documents that has."""
        before = document // GROUP
        return int(self._first[entry]) + before, min(GROUP, int(self._documents[entry]) - before * GROUP)

    def _other_group(self, group: int, size: int, rng: np.random.Generator) -> tuple[int, int]:
        """A random group that has another document than one of this group, and how many it has."""
        while True:  # documents have rows in proportion to their length
            other, others = self._group(*self._place(int(rng.integers(len(self))))[:2])
            if other != group or size > 1:
                return other, others
