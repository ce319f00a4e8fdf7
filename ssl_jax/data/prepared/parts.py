"""The first pass: parts of a source, each tokenised into a file that is ordered by the hashes of its documents.

Hashes are divided into `CELLS` ranges of equal size, and each cell of a part is one record. So a shard, a range of
cells, is read from a part without the rest of it, and the number of shards is chosen when all parts are counted.
"""

import itertools
import math
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
from etils import epath

from ssl_jax.data.corpus import HELDOUT_SEED, TokenizedCorpus, in_share, mix, read_corpus, write_corpus
from ssl_jax.data.json_lines import find_json_lines, is_json_lines
from ssl_jax.data.prepared.documents import encode_documents
from ssl_jax.data.prepared.manifest import Counts
from ssl_jax.data.prepared.records import RecordFile, encode_blobs, is_intact, write_records
from ssl_jax.data.sources import Joined, Source, TextFormat, open_source
from ssl_jax.data.text_files import find_files
from ssl_jax.data.tokenizer_files import find_tokenizer
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.data.tsv import is_tsv
from ssl_jax.files import read_json, write_json

CELLS = 4096
"""Ranges of hashes, and the largest number of shards."""
PART_RECORDS = CELLS + 2
"""Of a part: its cells, held-out documents and their texts."""
ORDER_SEED = 1
"""Of the hashes that cells are ranges of; those that decide what is held out have another seed."""
_PART_BYTES = 128 << 20
_PART_DOCUMENTS = 50_000
_POSITIONS = 1 << 32  # documents of a part, at most


class Opening(NamedTuple):
    """How a source is opened; see `open_source`.

    Attributes:
      joined: whether documents are tokenised as one text instead of sentence by sentence.
    """

    format: TextFormat
    column: str
    separator: str
    joined: bool

    def open(self, spec: str) -> Source:
        """Opens a source as an experiment opens it."""
        source = open_source(spec, self.format, self.column, self.separator)
        keeps_lines = self.format == "verbatim" and spec != "pydocs"
        return Joined(source, "" if keeps_lines else " ") if self.joined else source


class Part(NamedTuple):
    """A share of the documents of a source.

    Attributes:
      number: of the part, from 0.
      spec: of a source, such as one of several files.
      size: bytes of the file, 0 for a source that is no file.
      share, shares: its documents are the share of this number, of so many equal ones.
      heldout: whether all of its documents are held out.
    """

    number: int
    spec: str
    size: int
    share: int
    shares: int
    heldout: bool


class PartSummary(TypedDict):
    """What is known of a part that is done.

    Attributes:
      file: its records.
      training, heldout: what was counted.
    """

    file: RecordFile
    training: Counts
    heldout: Counts


def list_parts(spec: str, opening: Opening, *, first: int = 0, heldout: bool = False) -> list[Part]:
    """The parts of a source: of each file one for each 128 MB, otherwise one for each 50,000 documents.

    Args:
      spec: of the source, see `open_source`.
      opening: how it is opened.
      first: number of the first part.
      heldout: whether all documents are held out.

    Raises:
      UserError: there is no such source.
    """
    if spec == "pydocs" or spec.startswith("tfds:") or is_tsv(spec):
        pieces = [(spec, 0, math.ceil(len(opening.open(spec)) / _PART_DOCUMENTS))]
    else:
        found = find_json_lines(spec) if is_json_lines(spec) else find_files(spec)
        files = [epath.Path(file) for file in found]
        if not files:
            opening.open(spec)  # says what is wrong
        sized = [(str(file), file.stat().length) for file in files]
        whole = [name.lower().endswith(".gz") for name, _ in sized]  # which must be read from its beginning
        pieces = [
            (name, size, 1 if packed else max(1, math.ceil(size / _PART_BYTES)))
            for (name, size), packed in zip(sized, whole, strict=True)
        ]
    shares = [(name, size, share, count) for name, size, count in pieces for share in range(count)]
    return [Part(number, *share, heldout) for number, share in enumerate(shares, first)]


class Job(NamedTuple):
    """What every task of the first pass is told.

    Attributes:
      folder: of the finished parts, local or gs://.
      tokenizer: folder with the files of the tokenizer.
      opening: how sources are opened.
      heldout_share: share of the documents to hold out, 0 if they have a source of their own.
    """

    folder: str
    tokenizer: str
    opening: Opening
    heldout_share: float


class _Share:
    """A share of the documents of a source, as a source."""

    def __init__(self, part: Part, opening: Opening):
        self._source = opening.open(part.spec)
        self.name, self.fingerprint = self._source.name, ""
        bounds = [len(self._source) * share // part.shares for share in (part.share, part.share + 1)]
        self.first, self._stop = bounds

    def __len__(self) -> int:
        return self._stop - self.first

    def __getitem__(self, index: int) -> list[str]:
        return self._source[self.first + index]


def summary_file(folder: epath.Path, part: int) -> epath.Path:
    """The file that says that a part is done."""
    return folder / f"part-{part:05d}.json"


def part_file(number: int) -> str:
    """The name of the file of a part, which has `PART_RECORDS` records."""
    return f"part-{number:05d}.array_record"


def tokenize_part(job: Job, part: Part) -> None:
    """Tokenises a part into a file of records, unless there is one that is intact.

    The file has a record of documents for each cell, ordered by hash, then one of the held-out documents and one of
    their texts, in the order of the source.

    Raises:
      UserError: the source cannot be read, or the file cannot be written.
    """
    folder = epath.Path(job.folder)
    summary = summary_file(folder, part.number)
    if summary.exists() and is_intact(folder, read_json(summary, PartSummary)["file"]):
        return
    tokenizer = find_tokenizer(epath.Path(job.tokenizer)).open()
    source = _Share(part, job.opening)
    with tempfile.TemporaryDirectory() as local:
        corpus = _tokenized(source, tokenizer, Path(local))
        if part.heldout:
            heldout = np.ones(len(corpus.hashes), bool)
        else:  # as `split` does
            heldout = in_share(corpus.hashes, job.heldout_share, HELDOUT_SEED)
        kept = corpus.select(heldout)
        texts = ["".join(source[int(index)]).encode() for index in kept.source_index]
        place = part.number * _POSITIONS + source.first
        numbered = corpus._replace(source_index=corpus.source_index + place)
        training = numbered.select(~heldout)
        last = encode_documents(numbered.select(heldout)), encode_blobs(texts)
        file = write_records(folder / part_file(part.number), itertools.chain(_cells(training), last))
        done: PartSummary = {"file": file, "training": count(training), "heldout": count(kept)}
    write_json(summary, done)


def count(corpus: TokenizedCorpus) -> Counts:
    """What is counted of a corpus."""
    return {
        "documents": len(corpus.hashes),
        "tokens": int(corpus.document_lengths.sum()),
        "text_bytes": int(corpus.text_bytes.sum()),
    }


def total(counts: Sequence[Counts]) -> Counts:
    """The sums of some counts."""
    return {name: sum(each[name] for each in counts) for name in ("documents", "tokens", "text_bytes")}


def _cells(corpus: TokenizedCorpus) -> Iterator[bytes]:
    """A record for each cell, ordered by hash; equal hashes in the order of the source."""
    keys = mix(corpus.hashes, ORDER_SEED)
    order = np.argsort(keys, kind="stable")
    bounds = np.searchsorted(keys[order] // np.uint64(2**64 // CELLS), np.arange(CELLS + 1))
    for start, stop in itertools.pairwise(bounds):
        yield encode_documents(corpus.select(order[start:stop]))


def _tokenized(source: Source, tokenizer: Tokenizer, folder: Path) -> TokenizedCorpus:
    write_corpus(source, tokenizer, folder, lambda done, total: None)
    return read_corpus(source, tokenizer, folder)
