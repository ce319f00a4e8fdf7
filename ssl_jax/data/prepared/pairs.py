"""Segment pairs of prepared documents, in constant time whatever the size of the corpus.

Documents are ordered by length in buckets, all documents of which have the same number of rows: those of a document of
mean length. So a row leads to its document by arithmetic on a table of the buckets of each shard, without a list of all
documents. An example reads that document and the eight beside another random one, among which the second segment is
found: neighbours have nothing in common but their length, since a shard is ordered by hash within a bucket.
"""

from collections.abc import Sequence

import numpy as np

from ssl_jax.data.pairs import PairObjective, SegmentPairs, rows_of
from ssl_jax.data.prepared.documents import decode_text
from ssl_jax.data.prepared.manifest import Shard
from ssl_jax.data.prepared.records import Records
from ssl_jax.data.ragged import offsets_of
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.errors import UserError

BESIDE = 8
"""Documents that are read at once to find a second segment."""


class PreparedPairs:
    """Rows of `SegmentPairs`, each of the corpus of its document and `BESIDE` others.

    Differs from the rows of the same documents in one corpus in two points: the number of rows of a document is that of
    its bucket, and second segments come from the documents read.

    Args:
      records: documents.
      shards: descriptions of their files, in order.
      dtype: of the tokens.
      length, special, starts_word, objective: as for `SegmentPairs`.

    Raises:
      UserError: there are too few documents of two sentences or more.
    """

    def __init__(
        self,
        records: Records,
        shards: Sequence[Shard],
        dtype: type,
        length: int,
        special: SpecialTokens,
        starts_word: np.ndarray,
        objective: PairObjective,
    ):
        if len(records) < 2:
            raise UserError(
                f"prepared data: {len(records)} document(s) with two sentences or more; {objective} needs 2. "
                "Prepare more text."
            )
        self._records, self._dtype = records, dtype
        self._shape = (length, special, starts_word, objective)
        buckets = np.array([entry for shard in shards for entry in shard["buckets"]], np.int64)
        kinds, kind = np.unique(buckets[:, 0], return_inverse=True)
        documents, tokens = (np.bincount(kind, buckets[:, i], len(kinds)) for i in (1, 2))
        rows = rows_of(tokens / documents, length)[kind]
        # Entry i is the documents of one bucket of one shard: _first[i] to _first[i + 1], of _rows_each[i] rows each.
        self._first, self._rows_each = offsets_of(buckets[:, 1]), rows
        self._rows = offsets_of(rows * buckets[:, 1])

    def __len__(self) -> int:
        return int(self._rows[-1])

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """An example, see `SegmentPairs`."""
        entry, document, share = self._place(row)
        records = [self._records[document], *self._beside(document, rng)]
        # All are drawn equally often, since each has as many rows as the others of its bucket.
        rows = np.full(len(records), self._rows_each[entry])
        pairs = SegmentPairs(decode_text(records, self._dtype, ""), *self._shape, rows=rows)
        return pairs(share, rng)

    def _place(self, row: int) -> tuple[int, int, int]:
        """The entry of a row, its document, and which of its rows it is."""
        entry = int(np.searchsorted(self._rows, row, side="right")) - 1
        within, share = divmod(row - int(self._rows[entry]), int(self._rows_each[entry]))
        return entry, int(self._first[entry]) + within, share

    def _beside(self, document: int, rng: np.random.Generator) -> list[bytes]:
        """Documents beside a random one, which is another than this."""
        entry, other = 0, document
        while other == document:  # documents have rows in proportion to their length
            entry, other, _ = self._place(int(rng.integers(len(self))))
        first, stop = int(self._first[entry]), int(self._first[entry + 1])
        start = (
            other - (other - first) % BESIDE
        )  # groups that do not overlap: none is read more often than others
        group = self._records.range(start, min(start + BESIDE, stop))
        return [record for number, record in enumerate(group, start) if number != document]
