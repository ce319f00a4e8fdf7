"""A corpus tokenised once, into flat memory-mapped arrays shared by all processes of a machine.

Training reads tokens, never text. So the cost of a step does not depend on the tokenizer, and a corpus may be larger
than memory.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypedDict

import numpy as np
from etils import epath

from ssl_jax.data.cache import Damaged, cached, default_cache
from ssl_jax.data.sources import Source
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json

HELDOUT_SEED = 0
"""The held-out rows are the same for all seeds of a run, so that runs can be compared."""

_FORMAT = 3  # version of the files; part of the cache key
_BATCH_CHARACTERS = 4_000_000  # tokenised in one call by several threads
_MAX_TEXT_LENGTH = 10_000  # characters given to the tokenizer in one piece
_BLOCK_TOKENS = 1 << 22  # compared with the vocabulary at once


class _Summary(TypedDict):
    """The contents of corpus.json."""

    source: str
    fingerprint: str


class TokenizedCorpus(NamedTuple):
    """Documents, which consist of sentences, which consist of tokens. No sentence and no document is empty.

    Attributes:
      name: name of the source.
      fingerprint: SHA-256 of the contents, in hexadecimal; equal wherever the text and the tokenizer are equal.
      tokens: uint16 or int32 `[tokens]`.
      sentence_offsets: int64 `[sentences + 1]`; sentence s is `tokens[sentence_offsets[s] : sentence_offsets[s + 1]]`.
      first_sentence: int64 `[documents]`, index of the first sentence of each document.
      end_sentence: int64 `[documents]`, index after the last sentence of each document.
      hashes: uint64 `[documents]`, hash of the text of each document.
      text_bytes: int64 `[documents]`, bytes of the sentences of each document in UTF-8, before any normalisation.
      source_index: int64 `[documents]`, number of each document in the source.
    """

    name: str
    fingerprint: str
    tokens: np.ndarray
    sentence_offsets: np.ndarray
    first_sentence: np.ndarray
    end_sentence: np.ndarray
    hashes: np.ndarray
    text_bytes: np.ndarray
    source_index: np.ndarray

    @property
    def document_lengths(self) -> np.ndarray:
        """Tokens per document, int64 `[documents]`."""
        return self.sentence_offsets[self.end_sentence] - self.sentence_offsets[self.first_sentence]

    def document(self, index: int) -> np.ndarray:
        """Tokens of one document."""
        start, end = self.sentence_offsets[[self.first_sentence[index], self.end_sentence[index]]]
        return self.tokens[start:end]

    def select(self, documents: np.ndarray) -> "TokenizedCorpus":
        """A corpus with only these documents, given by index or by boolean mask; tokens are not copied."""
        return self._replace(
            first_sentence=self.first_sentence[documents],
            end_sentence=self.end_sentence[documents],
            hashes=self.hashes[documents],
            text_bytes=self.text_bytes[documents],
            source_index=self.source_index[documents],
        )


def original_text(source: Source, corpus: TokenizedCorpus) -> list[bytes]:
    """The sentences of each document of a corpus, joined, in UTF-8, as the source that it was made of has them."""
    return ["".join(source[int(index)]).encode() for index in corpus.source_index]


def token_counts(corpus: TokenizedCorpus, vocab_size: int) -> np.ndarray:
    """How often each token occurs, int64 `[vocab_size]`."""
    counts = np.zeros(vocab_size, np.int64)
    for index in range(len(corpus.hashes)):
        counts += np.bincount(corpus.document(index), minlength=vocab_size)
    return counts


def split(
    corpus: TokenizedCorpus, heldout_share: float, seed: int = 0
) -> tuple[TokenizedCorpus, TokenizedCorpus]:
    """Splits a corpus by documents into (training, held-out).

    Whether a document is held out depends on a hash of its text and the seed. So equal documents are always in the same
    part, and adding text moves no document to the other part. At least two documents are held out.

    Args:
      corpus: all documents.
      heldout_share: share of the documents to hold out, above 0 and below 1.
      seed: selects another split.

    Raises:
      UserError: there are fewer than four distinct documents.
    """
    heldout = is_heldout(corpus.hashes, heldout_share, seed, corpus.name)
    return corpus.select(~heldout), corpus.select(heldout)


def is_heldout(hashes: np.ndarray, heldout_share: float, seed: int, name: str) -> np.ndarray:
    """Which documents `split` holds out, bool `[documents]`.

    Args:
      hashes: uint64 `[documents]`, of `document_hash`.
      heldout_share: share of the documents to hold out.
      seed: selects another split.
      name: of the source, for messages.

    Raises:
      UserError: as `split`.
    """
    order = mix(hashes, seed)
    distinct = np.unique(order)
    if len(distinct) < 4:
        raise UserError(
            f"data source {name!r}: {len(distinct)} distinct document(s); at least 4 are needed, two to "
            "train on and two to hold out. Separate documents: by a blank line (format 'lines'), by two (format "
            "'raw'), by a separator of your choice (format 'verbatim'), or into files; or name other text to evaluate "
            "on, where there is the option --data.heldout_source."
        )
    threshold = np.clip(np.uint64(heldout_share * 2.0**64), distinct[1] + np.uint64(1), distinct[-2])
    return order < threshold


def document_hash(sentences: Sequence[str]) -> bytes:
    """Eight bytes of a hash of a document's text; a `uint64` in little-endian order."""
    return hashlib.blake2b("\n".join(sentences).encode(), digest_size=8).digest()


def in_share(hashes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which documents are in a share that depends on nothing but their hashes, bool `[documents]`.

    Args:
      hashes: uint64 `[documents]`, of `document_hash`.
      share: from 0 to 1; the documents of a smaller one are in a larger one, too.
      seed: selects other documents.
    """
    # The largest float64 below 2**64: 2**64 itself does not fit.
    return mix(hashes, seed) < np.uint64(min(share * 2.0**64, 2**64 - 2048))


def mix(hashes: np.ndarray, seed: int) -> np.ndarray:
    """The finaliser of SplitMix64: another order for each seed."""
    state = hashes + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def tokenize_corpus(
    source: Source,
    tokenizer: Tokenizer,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TokenizedCorpus:
    """Opens the tokenised corpus from the cache. If it is not cached, or damaged, it is first tokenised and written.

    Several processes may call this for the same corpus at once. Each opening reads the files once to verify them, which
    takes about a second for a billion tokens.

    Args:
      source: documents, each a list of sentences.
      tokenizer: encodes each sentence.
      cache: folder of tokenised corpora; None for `default_cache()`.
      progress: called as `progress(documents done, documents)` during tokenisation.

    Raises:
      UserError: the source is empty or cannot be read, or the cache cannot be read or written.
    """
    key = hashlib.sha256(f"{_FORMAT} {source.fingerprint} {tokenizer.fingerprint}".encode()).hexdigest()[:32]
    folder = (cache or default_cache()) / "corpora" / key

    def make(new: Path) -> None:
        if write_corpus(source, tokenizer, new, progress or (lambda done, total: None)) == 0:
            raise UserError(f"data source {source.name!r}: the corpus is empty; expected text.")

    return cached(
        folder,
        make=make,
        read=lambda folder: read_corpus(source, tokenizer, folder),
    )


def read_corpus(source: Source, tokenizer: Tokenizer, folder: Path) -> TokenizedCorpus:
    """Opens what `write_corpus` has written, after a look at each token. Raises `Damaged` if it is something else."""
    dtypes = {"tokens": token_dtype(tokenizer), "sentence_offsets": np.int64, "document_offsets": np.int64}
    of_documents = {"hashes": np.uint64, "text_bytes": np.int64, "source_index": np.int64}
    try:
        summary = read_json(epath.Path(folder / "corpus.json"), _Summary)
        arrays = {
            name: _load(folder / f"{name}.npy", dtype) for name, dtype in {**dtypes, **of_documents}.items()
        }
    except (UserError, ValueError, EOFError) as error:
        raise Damaged(str(error)) from None
    tokens, sentences, documents = (arrays[name] for name in dtypes)
    blocks = range(0, len(tokens), _BLOCK_TOKENS)
    if not (
        _are_offsets(sentences, len(tokens))
        and _are_offsets(documents, len(sentences) - 1)
        and all(len(arrays[name]) == len(documents) - 1 for name in of_documents)
        and all(_are_ids(tokens[i : i + _BLOCK_TOKENS], tokenizer.vocab_size) for i in blocks)
    ):
        raise Damaged("its arrays do not belong together")
    return TokenizedCorpus(
        name=source.name,
        fingerprint=summary["fingerprint"],
        tokens=tokens,
        sentence_offsets=sentences,
        first_sentence=documents[:-1],
        end_sentence=documents[1:],
        **{name: arrays[name] for name in of_documents},
    )


def _load(path: Path, dtype: type) -> np.ndarray:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"{path.name} has the type {array.dtype} and {array.ndim} dimensions")
    return array.view(np.ndarray)


def _are_offsets(offsets: np.ndarray, count: int) -> bool:
    """Whether these are the boundaries of the non-empty parts of `count` elements."""
    return (
        len(offsets) > 0 and offsets[0] == 0 and offsets[-1] == count and bool((np.diff(offsets) > 0).all())
    )


def _are_ids(tokens: np.ndarray, vocab_size: int) -> bool:
    return tokens.min() >= 0 and tokens.max() < vocab_size


def token_dtype(tokenizer: Tokenizer) -> type:
    """The type of the ids of a tokenised text, uint16 or int32."""
    return np.uint16 if tokenizer.vocab_size <= 2**16 else np.int32


def write_corpus(
    source: Source, tokenizer: Tokenizer, folder: Path, progress: Callable[[int, int], None]
) -> int:
    """Tokenises a source into files in a folder. Returns the number of tokens, 0 if there is no text.

    Args:
      source, tokenizer, progress: as `tokenize_corpus`.
      folder: an existing one.

    Raises:
      UserError: the source cannot be read.
    """
    fingerprint = hashlib.sha256(tokenizer.fingerprint.encode())
    with (
        _NpyWriter(folder / "tokens.npy", token_dtype(tokenizer)) as tokens,
        _NpyWriter(folder / "sentence_offsets.npy", np.int64) as sentence_offsets,
        _NpyWriter(folder / "document_offsets.npy", np.int64) as document_offsets,
        _NpyWriter(folder / "hashes.npy", np.uint64) as hashes,
        _NpyWriter(folder / "text_bytes.npy", np.int64) as text_bytes,
        _NpyWriter(folder / "source_index.npy", np.int64) as source_index,
    ):
        sentence_offsets.append([0])
        document_offsets.append([0])
        for done, documents in _batches(source):
            ids = iter(_encode(tokenizer, [sentence for document in documents for sentence in document]))
            for index, document in enumerate(documents, done - len(documents)):
                encoded = [sentence for sentence in (next(ids) for _ in document) if sentence]
                if not encoded:
                    continue
                sentence_offsets.append(tokens.length + np.cumsum([len(sentence) for sentence in encoded]))
                tokens.append([token for sentence in encoded for token in sentence])
                document_offsets.append([sentence_offsets.length - 1])
                digest = document_hash(document)
                hashes.append(np.frombuffer(digest, "<u8"))
                text_bytes.append([sum(len(sentence.encode()) for sentence in document)])
                source_index.append([index])
                fingerprint.update(digest)
            progress(done, len(source))
    summary: _Summary = {"source": source.name, "fingerprint": fingerprint.hexdigest()}
    write_json(epath.Path(folder / "corpus.json"), summary)
    return tokens.length


def _batches(source: Source) -> Iterator[tuple[int, list[list[str]]]]:
    batch, characters = [], 0
    for index in range(len(source)):
        batch.append(source[index])
        characters += sum(map(len, batch[-1]))
        if characters >= _BATCH_CHARACTERS:
            yield index + 1, batch
            batch, characters = [], 0
    yield len(source), batch


def _encode(tokenizer: Tokenizer, sentences: list[str]) -> Iterator[list[int]]:
    """Yields the ids of each sentence.

    Long sentences are encoded in parts, because memory grows with the longest text.
    """
    parts = [_parts(sentence) for sentence in sentences]
    ids = iter(tokenizer.encode_batch([text for texts in parts for text in texts]))
    for texts in parts:
        yield [token for _ in texts for token in next(ids)]


def _parts(text: str) -> list[str]:
    parts, start = [], 0
    while len(text) - start > _MAX_TEXT_LENGTH:
        limit = start + _MAX_TEXT_LENGTH
        cut = text.rfind(" ", start + _MAX_TEXT_LENGTH // 2, limit) + 1 or limit
        parts.append(text[start:cut])
        start = cut
    return [*parts, text[start:]]


class _NpyWriter:
    """Writes an .npy file sequentially. The header is written twice, because the length is known only at the end."""

    def __init__(self, path: Path, dtype: type):
        self._path, self._dtype, self.length = path, np.dtype(dtype), 0

    def __enter__(self) -> "_NpyWriter":
        self._file: BinaryIO = self._path.open("wb")
        self._header()
        return self

    def append(self, values: np.ndarray | list[int]) -> None:
        self._file.write(np.asarray(values, self._dtype).tobytes())
        self.length += len(values)

    def _header(self) -> None:
        description = {"descr": self._dtype.str, "fortran_order": False, "shape": (self.length,)}
        np.lib.format.write_array_header_1_0(self._file, description)

    def __exit__(self, *error: object) -> None:
        self._file.seek(0)
        self._header()
        self._file.close()
