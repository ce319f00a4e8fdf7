"""The second pass: shards of finished rows, the held-out documents, and a sample of the training documents.

A shard is a range of hashes. Its documents are ordered by a hash of their text and their place in the source, so that
they are in random order and copies of a text are apart, whatever was tokenised where.
"""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from etils import epath

from ssl_jax.bucket import AT_ONCE
from ssl_jax.data.corpus import HELDOUT_SEED, TokenizedCorpus, in_share, mix
from ssl_jax.data.passages import Passages
from ssl_jax.data.prepared.documents import decode_documents, encode_documents, encode_text
from ssl_jax.data.prepared.manifest import GROUP, HELDOUT, SAMPLE, Counts, Settings, Shard
from ssl_jax.data.prepared.parts import (
    CELLS,
    ORDER_SEED,
    PART_RECORDS,
    Part,
    PartSummary,
    count,
    part_file,
    summary_file,
)
from ssl_jax.data.prepared.records import (
    RecordFile,
    Records,
    decode_blobs,
    encode_blobs,
    write_records,
)
from ssl_jax.data.prepared.streams import encode_row
from ssl_jax.data.prepared.work import RERUN, describe, is_done, read_description
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.data.stream import Stream
from ssl_jax.files import read_json

HELDOUT_BYTES = 64 << 20
"""Text of held-out documents that is kept; every host reads all of it when it starts."""
SAMPLE_TOKENS = 5_000_000
"""Training text in which the n-gram baselines of reports are counted."""
BUCKETS_PER_OCTAVE = 8
"""Lengths of documents in a bucket differ by 9 % at most."""
_SCATTER_SEED = 2
_HELDOUT_BLOCK = 1 << 20


class Plan(NamedTuple):
    """What every task of the second pass is told.

    Attributes:
      parts_folder: of the first pass.
      parts: numbers of its parts.
      folder: of the finished files.
      settings: of the rows.
      dtype: of the tokens, uint16 or int32.
      special: ids of the special tokens.
      shards: their number.
      sample_cells: cells that hold a large enough sample.
      heldout_below: held-out documents with a larger hash are left out, since they would be too many.
    """

    parts_folder: str
    parts: int
    folder: str
    settings: Settings
    dtype: str
    special: SpecialTokens
    shards: int
    sample_cells: int
    heldout_below: float


def shard_name(shard: int, shards: int) -> str:
    """The name of the file of a shard."""
    return f"rows-{shard:05d}-of-{shards:05d}.array_record"


def read_parts(folder: epath.Path, parts: Sequence[Part]) -> list[PartSummary]:
    """What is known of the parts, all of which are done."""
    return [read_json(summary_file(folder, part.number), PartSummary) for part in parts]


def choose_shards(training: Counts, item_size: int, shard_bytes: float) -> int:
    """The number of shards that have about so many bytes each."""
    return min(CELLS, max(1, math.ceil(training["tokens"] * item_size / shard_bytes)))


def choose_sample_cells(training: Counts) -> int:
    """The number of cells with twice the tokens of a sample."""
    return min(CELLS, math.ceil(2 * CELLS * SAMPLE_TOKENS / max(training["tokens"], 1)))


def choose_heldout(heldout: Counts, share: float) -> float:
    """The share of all documents of which the text can be kept."""
    return share * min(1.0, HELDOUT_BYTES / max(heldout["text_bytes"], 1))


def write_file(plan: Plan, number: int) -> None:
    """Writes a shard, after the last of these the held-out documents, and then the sample.

    Each has a description beside the unfinished parts. A file that is there and intact stays.
    """
    if number < plan.shards:
        write_shard(plan, number)
    else:
        (write_heldout, write_sample)[number - plan.shards](plan)


def write_shard(plan: Plan, shard: int) -> None:
    """Writes a shard and its description, unless there is one that is intact."""
    folder = epath.Path(plan.folder)
    name = shard_name(shard, plan.shards)
    if is_done(folder, name):
        return
    first, stop = (CELLS * number // plan.shards for number in (shard, shard + 1))
    corpus = _read(plan, first, stop)
    order = _scattered(corpus)
    described = {}
    if plan.settings["rows"] == "pairs":
        corpus = corpus.select(order)
        sentences = corpus.end_sentence - corpus.first_sentence
        corpus = corpus.select(sentences > 1)  # others have no pair
        buckets = length_buckets(corpus.document_lengths)
        corpus = corpus.select(np.argsort(buckets, kind="stable"))
        described["buckets"] = count_buckets(corpus)
    else:
        corpus = corpus.select(order)
    file: Shard = {**write_records(folder / name, _rows(plan, corpus)), **described}
    describe(folder, file)


def write_heldout(plan: Plan) -> None:
    """Writes the held-out documents, in the order of the source, each with its text."""
    folder = epath.Path(plan.folder)
    if is_done(folder, HELDOUT):
        return
    file = write_records(folder / HELDOUT, _heldout(plan))
    describe(folder, file)


def write_sample(plan: Plan) -> None:
    """Writes the sample of the training documents."""
    folder = epath.Path(plan.folder)
    if is_done(folder, SAMPLE):
        return
    corpus = _read(plan, 0, plan.sample_cells)
    corpus = corpus.select(_scattered(corpus))
    enough = int(np.searchsorted(np.cumsum(corpus.document_lengths), SAMPLE_TOKENS)) + 1
    file = write_records(
        folder / SAMPLE, [encode_documents(corpus.select(np.arange(len(corpus.hashes))[:enough]))]
    )
    describe(folder, file)


def length_buckets(lengths: np.ndarray) -> np.ndarray:
    """The bucket of each document of `lengths` tokens, int64."""
    return np.floor(BUCKETS_PER_OCTAVE * np.log2(lengths)).astype(np.int64)


def count_buckets(corpus: TokenizedCorpus) -> list[list[int]]:
    """[bucket, documents, their tokens] for each bucket of a corpus that is ordered by bucket."""
    buckets, documents = np.unique(length_buckets(corpus.document_lengths), return_counts=True)
    tokens = (
        np.add.reduceat(corpus.document_lengths, np.cumsum(documents) - documents) if len(buckets) else []
    )
    return [list(map(int, counts)) for counts in zip(buckets, documents, tokens, strict=True)]


def _parts(plan: Plan) -> list[Records]:
    folder = epath.Path(plan.parts_folder)
    names = (part_file(part) for part in range(plan.parts))
    files = [RecordFile(name=name, records=PART_RECORDS, size=0, sha256="") for name in names]
    return [Records(folder, [file], RERUN) for file in files]


def _read(plan: Plan, first: int, stop: int) -> TokenizedCorpus:
    """The training documents of some cells, in the order of parts."""
    with ThreadPoolExecutor(AT_ONCE) as pool:  # on gs:// each record is a request
        read = pool.map(lambda part: part.range(first, stop), _parts(plan))
        records = [record for part in read for record in part]
    return decode_documents(records, np.dtype(plan.dtype).type, "prepared")


def _scattered(corpus: TokenizedCorpus) -> np.ndarray:
    """The order of the documents of a shard."""
    places = mix(corpus.source_index.astype(np.uint64), _SCATTER_SEED)
    return np.lexsort((corpus.source_index, mix(corpus.hashes ^ places, ORDER_SEED)))


def _rows(plan: Plan, corpus: TokenizedCorpus) -> Iterator[bytes]:
    if len(corpus.hashes) == 0:
        return
    kind, length = plan.settings["rows"], plan.settings["length"]
    if kind in ("next_token", "packed"):
        positions = length - (kind == "packed")  # [CLS] is the first token of a packed row
        stream = Stream(corpus, seed=None)
        for row in range(stream.rows(positions)):
            yield encode_row(corpus, stream.row(row, positions), plan.special.sep)
    elif kind == "passages":
        passages = Passages(corpus, length, plan.special, np.zeros(0, bool))
        for row in range(len(passages)):
            yield encode_text(*passages.text(row))
    else:
        yield from document_groups(corpus)


def document_groups(corpus: TokenizedCorpus) -> Iterator[bytes]:
    """Records of up to `GROUP` documents of one bucket, of a corpus that is ordered by bucket."""
    first = 0
    for _, documents, _ in count_buckets(corpus):
        for start in range(first, first + documents, GROUP):
            yield encode_documents(corpus.select(slice(start, min(start + GROUP, first + documents))))
        first += documents


def _heldout(plan: Plan) -> Iterator[bytes]:
    """Records of many held-out documents, since those of a file on gs:// are read one by one.

    Each has two blobs for each part that it is of: documents, and the blobs of their texts.
    """
    dtype = np.dtype(plan.dtype).type
    blobs: list[bytes] = []
    for part in _parts(plan):
        stored, texts = part.range(CELLS, CELLS + 2)
        documents = decode_documents([stored], dtype, "prepared")
        kept = in_share(documents.hashes, plan.heldout_below, HELDOUT_SEED)
        if kept.any():
            chosen = [text for text, keep in zip(decode_blobs(texts), kept, strict=True) if keep]
            blobs += [encode_documents(documents.select(kept)), encode_blobs(chosen)]
        if sum(map(len, blobs)) >= _HELDOUT_BLOCK:
            yield encode_blobs(blobs)
            blobs = []
    if blobs:
        yield encode_blobs(blobs)


def read_heldout(
    folder: epath.Path, file: RecordFile, dtype: type, name: str, cure: str
) -> tuple[TokenizedCorpus, list[str]]:
    """The held-out documents in the order of the source, and their texts.

    Args:
      folder, file: of `write_heldout`.
      dtype: of the tokens.
      name: of the corpus.
      cure: what to do if the file is damaged.
    """
    records = Records(folder, [file], cure).range(0, file["records"])
    blobs = [blob for record in records for blob in decode_blobs(record)]
    texts = [text.decode() for part in blobs[1::2] for text in decode_blobs(part)]
    return decode_documents(blobs[::2], dtype, name), texts


def count_heldout(plan: Plan) -> Counts:
    """What is counted of the held-out documents, which are written."""
    folder = epath.Path(plan.folder)
    described = read_description(folder, HELDOUT)
    corpus, _ = read_heldout(folder, described, np.dtype(plan.dtype).type, "prepared", RERUN)
    return count(corpus)
