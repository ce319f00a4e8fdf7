"""Tokenizers with one interface: SentencePiece (trained here or loaded), WordPiece, byte-level BPE, bytes, characters.

Encoding a text never produces a special token: "[MASK]" in a document is encoded as ordinary characters.
"""

import functools
import hashlib
import io
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, Protocol

import numpy as np
import sentencepiece
import tokenizers
from etils import epath

from ssl_jax.data import characters
from ssl_jax.data.byte_level_bpe import byte_tokenizer, read_byte_level_bpe
from ssl_jax.data.offsets import Encoded, encoded
from ssl_jax.data.ragged import Ragged, offsets_of, ranges
from ssl_jax.data.sentencepiece_json import sentencepiece_json
from ssl_jax.data.special_tokens import PIECES, SENTENCEPIECE, WORDPIECE, SpecialTokens
from ssl_jax.data.vocabularies import MAX_PIECES, begins_word, is_cjk, lines, read_bounded, read_text
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole
from ssl_jax.interruptible import interruptibly

SETTINGS = "tokenizer_config.json"
"""A file beside a vocab.txt. As in Hugging Face's layout, `do_lower_case` determines whether case is folded."""

TRAINING_THREADS = 8  # fixed, because the sums of unigram training depend on this number
ENCODING_THREADS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


class Tokenizer(Protocol):
    """The interface of a tokenizer.

    Attributes:
      vocab_size: number of ids, including special tokens.
      special: ids of the special tokens.
      starts_word: bool `[vocab_size]`, whether a token begins a word (for whole-word masking).
      fingerprint: SHA-256, in hexadecimal, of everything that determines the ids of a text.
      kind: name of the algorithm.
      folds_case: whether "A" and "a" have the same ids.
      byte_fallback: whether a character without a piece is encoded as its bytes, so that none is unknown.
      keeps_text: whether decoding gives the very text that was encoded, if no character is unknown.
    """

    vocab_size: int
    special: SpecialTokens
    starts_word: np.ndarray
    fingerprint: str
    kind: str
    folds_case: bool
    byte_fallback: bool
    keeps_text: bool

    def encode(self, text: str) -> list[int]: ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        """The tokens of each text, as `encode` gives them, and the characters that each stands for."""

    def decode(self, ids: Sequence[int]) -> str: ...

    def pieces(self, ids: Sequence[int]) -> list[str]: ...

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        """The UTF-8 text of each token, including a space before a word; empty for special tokens.

        Joined, those of an encoded text are the text as the tokenizer normalised it. Only unknown tokens (if the
        tokenizer has no pieces for single bytes) and, with WordPiece, spaces beside punctuation are lost.
        """

    def save(self, folder: epath.Path) -> epath.Path:
        """Writes the file that `open_tokenizer` reads, atomically, and returns its path.

        Raises:
          UserError: the folder cannot be written.
        """

    def to_json(self) -> str:
        """The tokenizer in the format of the tokenizers library, a `tokenizer.json`, without special tokens.

        Raises:
          UserError: that library does not have the algorithm.
        """


class SentencePiece:
    """A SentencePiece model (arXiv:1808.06226).

    The other attributes and the methods are those of `Tokenizer`.

    Args:
      model: contents of its file.

    Attributes:
      special: the ids 0 to 4 for [PAD] [UNK] [CLS] [SEP] [MASK] in a model that was trained here; otherwise see
        `_special_tokens`.

    Raises:
      ValueError: the model is empty, or has no token that can begin or end a text.
    """

    kind = "SentencePiece"
    keeps_text = False  # it normalises

    def __init__(self, model: bytes):
        if len(model) == 0:
            raise ValueError("it is empty")
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.vocab_size = self._processor.get_piece_size()
        self.special = _special_tokens(self._processor)
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self.starts_word = np.array([begins_word(text) for text in self.piece_bytes(range(self.vocab_size))])
        self.folds_case = self._processor.normalize("A") == self._processor.normalize("a")
        self.byte_fallback = any(map(self._processor.is_byte, range(self.vocab_size)))

    def encode(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return self._processor.encode(list(texts), num_threads=ENCODING_THREADS)

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        found = self._processor.encode(
            list(texts), num_threads=ENCODING_THREADS, return_type="offset_mapping"
        )
        return [
            encoded(
                text, one["ids"], one["offsets"], np.array([piece == "▁" for piece in one["pieces"]], bool)
            )
            for text, one in zip(texts, found, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return self._processor.decode([int(i) for i in ids])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return self._processor.id_to_piece([int(i) for i in ids])

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        return [self._bytes(int(i), piece) for i, piece in zip(ids, self.pieces(ids), strict=True)]

    def _bytes(self, token: int, piece: str) -> bytes:
        if self._processor.is_byte(token):  # "<0x0A>"
            return bytes.fromhex(piece[3:5])
        special = self._processor.is_control(token) or self._processor.is_unknown(token)
        return b"" if special else piece.replace("▁", " ").encode()

    def save(self, folder: epath.Path) -> epath.Path:
        path = epath.Path(folder) / "tokenizer.model"
        write_whole(path, self._model)
        return path

    def to_json(self) -> str:
        return sentencepiece_json(self._model)


def _special_tokens(processor: sentencepiece.SentencePieceProcessor) -> SpecialTokens:
    """The special tokens of a model of any origin, by the usual names of its control pieces.

    Of [CLS] and [SEP] (or <s> and </s>) a missing one has the id of the other, as in GPT-2's vocabulary. Padding, which
    is never read, is that of [SEP] where there is none. Without a mask token, `mask` is the unknown token: see
    `SpecialTokens.has_mask`.

    Raises:
      ValueError: there is neither [CLS] nor [SEP].
    """

    def find(*names: str) -> int | None:
        found = (processor.piece_to_id(name) for name in names)
        return next((token for token in found if processor.is_control(token)), None)

    unknown = processor.unk_id()
    cls, sep = find("[CLS]", "<s>"), find("[SEP]", "</s>")
    sep = cls if sep is None else sep
    if sep is None:
        raise ValueError(
            "it has none of the control pieces [CLS], [SEP], <s> and </s> to stand between texts"
        )
    pad, mask = find("[PAD]", "<pad>"), find("[MASK]", "<mask>")
    ids = [sep if pad is None else pad, unknown, sep if cls is None else cls, sep]
    ids.append(unknown if mask is None else mask)
    return SpecialTokens(*ids, next(i for i in itertools.count() if i not in ids))


class WordPiece:
    """Google's BERT vocabularies: `vocab.txt`, one piece per line, "##" before a piece that continues a word."""

    special = WORDPIECE
    kind = "WordPiece"
    byte_fallback = keeps_text = False

    def __init__(self, vocabulary: Sequence[str], lowercase: bool = True):
        self._vocabulary = list(vocabulary)
        self._tokenizer = tokenizers.Tokenizer(
            tokenizers.models.WordPiece(
                vocab={piece: i for i, piece in enumerate(vocabulary)},
                unk_token="[UNK]",
                max_input_chars_per_word=200,  # as in google-research/bert
            )
        )
        self._tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(lowercase=lowercase)
        self._tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        self._tokenizer.decoder = tokenizers.decoders.WordPiece()
        self.vocab_size = len(self._vocabulary)
        self.folds_case = lowercase
        self.fingerprint = hashlib.sha256(f"{lowercase}\n{self._text}".encode()).hexdigest()
        self.starts_word = np.array([not piece.startswith("##") for piece in self._vocabulary])

    @property
    def _text(self) -> str:
        return "".join(piece + "\n" for piece in self._vocabulary)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        # Spaces separate words whatever stands beside them, so that each distinct word need be encoded only once.
        words = [text.split(" ") for text in texts]
        distinct = list(dict.fromkeys(itertools.chain.from_iterable(words)))
        encodings = self._tokenizer.encode_batch_fast(distinct)
        pieces = {word: encoding.ids for word, encoding in zip(distinct, encodings, strict=True)}
        return [list(itertools.chain.from_iterable(map(pieces.__getitem__, each))) for each in words]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        simple = iter(self._encode_ascii_with_offsets([text for text in texts if text.isascii()]))
        others = [text for text in texts if not text.isascii()]
        found = zip(others, self._tokenizer.encode_batch(others), strict=True)
        corrected = (encoded(text, one.ids, one.offsets, np.zeros(len(one.ids), bool)) for text, one in found)
        return [next(simple if text.isascii() else corrected) for text in texts]

    def _encode_ascii_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        # As in encode_batch, each distinct word is encoded only once. Of ASCII, a piece has no space, no mark and no
        # part of a character: its offsets need no correction.
        words = [text.split(" ") for text in texts]
        flat = list(itertools.chain.from_iterable(words))
        numbers = {word: number for number, word in enumerate(dict.fromkeys(flat))}
        encodings = self._tokenizer.encode_batch(list(numbers))
        pieces = Ragged.of([one.ids for one in encodings])
        spans = np.array([span for one in encodings for span in one.offsets], np.int64).reshape(-1, 2)

        word = np.fromiter(map(numbers.__getitem__, flat), np.int64, len(flat))
        # A word begins behind the space after the one before it.
        of_text = offsets_of(np.fromiter(map(len, words), np.int64, len(words)))
        begins = offsets_of(np.fromiter(map(len, flat), np.int64, len(flat)) + 1)
        begins = begins[:-1] - np.repeat(begins[of_text[:-1]], np.diff(of_text))
        count = pieces.lengths[word]
        source = ranges(pieces.offsets[word], count)
        ids, offsets = pieces.values[source].tolist(), spans[source] + np.repeat(begins, count)[:, None]
        bounds = offsets_of(count)[of_text].tolist()
        return [Encoded(ids[a:b], offsets[a:b]) for a, b in itertools.pairwise(bounds)]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids if int(i) not in WORDPIECE[:-1]])

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self._vocabulary[int(i)] for i in ids]

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        special = WORDPIECE[:-1]
        return [
            b"" if int(i) in special else (piece[2:] if piece.startswith("##") else f" {piece}").encode()
            for i, piece in zip(ids, self.pieces(ids), strict=True)
        ]

    def save(self, folder: epath.Path) -> epath.Path:
        path = epath.Path(folder) / "vocab.txt"
        settings = json.dumps({"do_lower_case": self.folds_case}) + "\n"
        # The settings first, because a folder with a vocab.txt has a tokenizer.
        write_whole(path.with_name(SETTINGS), settings.encode())
        write_whole(path, self._text.encode())
        return path

    def to_json(self) -> str:
        return self._tokenizer.to_str()


def open_tokenizer(path: str | epath.Path, lowercase: bool = True) -> Tokenizer:
    """Reads a SentencePiece `*.model`, a WordPiece `vocab.txt`, a byte-level BPE, or a vocabulary of characters.

    Args:
      path: the file; `.txt` is WordPiece; `.json` is a byte-level BPE (`tokenizer.json`, or `vocab.json` with
        `merges.txt` beside it), but for `characters.json`; anything else is SentencePiece. Or `bytes`: it has no file.
      lowercase: whether a WordPiece vocabulary is uncased. Other files determine it themselves.

    Raises:
      UserError: the file does not exist or is invalid, or its special tokens do not have the expected ids.
    """
    if str(path) == "bytes":
        return byte_tokenizer()
    path = epath.Path(os.path.expanduser(path))
    if not _is_file(path):
        raise UserError(
            f"tokenizer {str(path)!r}: no such file; expected a SentencePiece '*.model', a WordPiece 'vocab.txt', a "
            "byte-level BPE's 'tokenizer.json', 'characters.json' of another run, or one of the words train, bytes and "
            "characters."
        )
    if path.name == characters.FILE:
        return characters.read_characters(path)
    if path.suffix == ".json":
        return read_byte_level_bpe(path)
    return _read_wordpiece(path, lowercase) if path.suffix == ".txt" else _read_sentencepiece(path)


def _is_file(path: epath.Path) -> bool:
    try:
        return path.is_file()
    except OSError as error:
        raise UserError(f"tokenizer {str(path)!r}: cannot be read ({error.strerror or error}).") from error


def _read_sentencepiece(path: epath.Path) -> SentencePiece:
    try:
        tokenizer = SentencePiece(read_bounded(path))
        tokenizer.decode(range(tokenizer.vocab_size))
    except (
        RuntimeError,
        ValueError,
        IndexError,
    ) as error:  # ValueError: pieces and messages that are not UTF-8
        raise UserError(f"tokenizer {str(path)!r}: not a SentencePiece model ({error}).") from error
    return tokenizer


def _read_wordpiece(path: epath.Path, lowercase: bool) -> WordPiece:
    vocabulary = lines(read_text(path))
    if len(set(vocabulary)) != len(vocabulary) or "[UNK]" not in vocabulary or len(vocabulary) > MAX_PIECES:
        raise UserError(
            f"tokenizer {str(path)!r}: not a WordPiece vocabulary; expected distinct pieces, one per line, with [UNK], "
            f"at most {MAX_PIECES:,}."
        )
    tokenizer = WordPiece(vocabulary, lowercase)
    if tokenizer.vocab_size <= WORDPIECE.mask or tuple(tokenizer.pieces(WORDPIECE[:-1])) != PIECES:
        layout = ", ".join(f"{piece}={i}" for piece, i in zip(PIECES, WORDPIECE[:-1], strict=True))
        raise UserError(
            f"tokenizer {str(path)!r}: special tokens are not where they are expected ({layout}). Use the vocab.txt of "
            "one of Google's BERT models."
        )
    return tokenizer


def train_sentencepiece(
    sentences: Iterable[str],
    vocab_size: int,
    model_type: Literal["unigram", "bpe"] = "unigram",
    lowercase: bool = False,
    byte_fallback: bool = False,
    single_cjk: bool = False,
    max_characters: int = 10_000_000,
) -> SentencePiece:
    """Trains SentencePiece, and prints that it does. The same sentences give the same model on every machine.

    Args:
      sentences: the text, not sorted by subject, because only its beginning is read.
      vocab_size: number of ids, including the five special tokens. A unigram model of a small corpus may have fewer.
      model_type: "unigram" (arXiv:1804.10959) or "bpe".
      lowercase: fold case, as BERT's uncased vocabularies do.
      byte_fallback: 256 of the ids are single bytes, so that no character is unknown.
      single_cjk: each Chinese character is a piece of its own, as in the multilingual vocabulary of BERT: those that
        make up 99.95 % of the Chinese characters of the text.
      max_characters: number of characters to read. 10 million take about 6 seconds for 8,000 unigram pieces.

    Raises:
      UserError: the text is too small for the vocabulary.
    """
    buffer = io.BytesIO()
    unreadable: list[UserError] = []  # stored, because the trainer would wrap it in its own error

    text = _first_characters(sentences, max_characters)
    if single_cjk:
        text = list(text)
    characters = _frequent_cjk(text) if single_cjk else []

    def readable() -> Iterator[str]:
        try:
            yield from text
        except UserError as error:
            unreadable.append(error)

    print(f"training the tokenizer, of {vocab_size:,} {model_type} pieces", flush=True)
    train = functools.partial(
        sentencepiece.SentencePieceTrainer.train,
        sentence_iterator=readable(),
        model_writer=buffer,
        vocab_size=vocab_size,
        model_type=model_type,
        hard_vocab_limit=model_type == "bpe",
        normalization_rule_name="nmt_nfkc_cf" if lowercase else "nmt_nfkc",
        **dict(zip(("pad_id", "unk_id", "bos_id", "eos_id"), SENTENCEPIECE, strict=False)),
        **dict(zip(("pad_piece", "unk_piece", "bos_piece", "eos_piece"), PIECES, strict=False)),
        byte_fallback=byte_fallback,
        control_symbols=[PIECES[SENTENCEPIECE.mask]],
        user_defined_symbols=characters,
        max_sentence_length=1 << 20,
        num_threads=TRAINING_THREADS,
        minloglevel=2,
    )
    try:
        interruptibly(train)
    except RuntimeError as error:
        if unreadable:
            raise unreadable[0] from None
        raise UserError(
            f"a {model_type} vocabulary of {vocab_size} pieces cannot be trained on this text: {_reason(str(error))}."
        ) from error
    if unreadable:
        raise unreadable[0]
    return SentencePiece(buffer.getvalue())


def _reason(message: str) -> str:
    """Why training failed and what to do, from the message of SentencePiece, whose options are not ours."""
    if found := re.search(r"smaller than required_chars\. \d+ vs (\d+)", message):
        return (
            f"its characters and the special tokens alone are {found[1]}; give a vocabulary of more pieces "
            "(--model.vocab_size)"
        )
    if found := re.search(r"a value <= (\d+)", message):
        return f"it has {found[1]} at most; give more text, or fewer pieces (--model.vocab_size {found[1]})"
    return f"{message.rsplit('] ', 1)[-1].strip().rstrip('.') or 'there is none'}; give more text"


def _frequent_cjk(sentences: Iterable[str]) -> list[str]:
    """The most frequent Chinese characters, which together make up 99.95 % of all."""
    counts = Counter(character for sentence in sentences for character in sentence if is_cjk(character))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    before = itertools.accumulate((count for _, count in ordered), initial=0)
    most = 0.9995 * counts.total()
    return [character for (character, _), count in zip(ordered, before, strict=False) if count < most]


def _first_characters(sentences: Iterable[str], limit: int) -> Iterable[str]:
    for sentence in sentences:
        yield sentence[:100_000]  # the trainer skips longer lines
        limit -= len(sentence)
        if limit <= 0:
            return
