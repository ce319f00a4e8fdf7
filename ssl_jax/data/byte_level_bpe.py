"""Byte-level BPE (Radford et al. 2019): the tokenizers of GPT-2 and BART, from the files that come with weights, and
bytes alone, which is the same without merges.

Each byte of the UTF-8 text is represented by a printable character (a space by "Ġ"), and pieces are strings of these
characters. Every text can be encoded, and decoding returns the same text, unless the file asks for a normalisation or
for a space before the text (`keeps_text`).
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import tokenizers
from etils import epath

from ssl_jax.data.offsets import Encoded, encoded
from ssl_jax.data.special_tokens import PIECES, SpecialTokens
from ssl_jax.data.vocabularies import begins_word, check_ids, lines, parse_json, read_text
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

_LAYOUTS = (  # pad, unk, cls, sep, mask
    ("<pad>", "<unk>", "<s>", "</s>", "<mask>"),  # BART
    ("<|endoftext|>",) * 5,  # GPT-2, whose only special token separates documents
    PIECES,  # `byte_tokenizer`
)


def _byte_of_character() -> dict[str, int]:
    """The byte of each character of a piece: its Latin-1 code if it is printable, otherwise as in GPT-2's table."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + i): b for i, b in enumerate(others)}


_BYTES = _byte_of_character()


class ByteLevelBpe:
    """A byte-level BPE tokenizer.

    The other attributes and the methods are those of `Tokenizer`.

    Args:
      text: the contents of a `tokenizer.json`.

    Attributes:
      special: for GPT-2, <|endoftext|> in each role; for BART, <pad> <unk> <s> </s> <mask>; for bytes alone, those of a
        SentencePiece trained here.

    Raises:
      ValueError: the text is not a byte-level BPE.
    """

    kind = "byte-level BPE"

    def __init__(self, text: str):
        self._text = text
        self._tokenizer = tokenizer = _parse(text)
        self.special = _special(tokenizer)
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True  # encodes their names in a text as ordinary text
        self.vocab_size = max(tokenizer.get_vocab().values()) + 1
        self.fingerprint = hashlib.sha256(text.encode()).hexdigest()
        self.starts_word = np.array([begins_word(self._bytes(i)) for i in range(self.vocab_size)])
        added = json.loads(text).get("added_tokens") or []
        self.keeps_text = (
            not _missing_bytes(tokenizer)
            and tokenizer.normalizer is None
            and _splits_only(json.loads(tokenizer.to_str())["pre_tokenizer"])
            and all(self._is_plain(token) for token in added if not token.get("special"))
        )
        normalize = tokenizer.normalizer.normalize_str if tokenizer.normalizer else str
        self.folds_case = normalize("A") == normalize("a")
        self.byte_fallback = not _missing_bytes(tokenizer)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encodings = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        found = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [
            encoded(text, one.ids, one.offsets, np.array([text[a:b].isspace() for a, b in one.offsets], bool))
            for text, one in zip(texts, found, strict=True)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """As people read them: "▁" for a space, as in SentencePiece; "\\xe2" for a byte that is no character."""
        return [self._bytes(int(i)).decode(errors="backslashreplace").replace(" ", "▁") for i in ids]

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        special = self.special[:-1]
        return [b"" if int(i) in special else self._bytes(int(i)) for i in ids]

    def save(self, folder: epath.Path) -> epath.Path:
        path = epath.Path(folder) / "tokenizer.json"
        write_whole(path, self._text.encode())
        return path

    def to_json(self) -> str:
        return self._text

    def _is_plain(self, added: dict[str, Any]) -> bool:
        """Whether an added token stands for its own text, without the spaces beside it."""
        takes_more = added.get("lstrip") or added.get("rstrip")
        return not takes_more and self._bytes(added["id"]) == added["content"].encode()

    def _bytes(self, token: int) -> bytes:
        piece = self._tokenizer.id_to_token(token) or ""  # empty for an id that the file skips
        is_text = all(character in _BYTES for character in piece)
        return bytes(_BYTES[character] for character in piece) if is_text else piece.encode()


def _parse(text: str) -> tokenizers.Tokenizer:
    settings = parse_json(text)
    parts = [(settings.get(part) or {}).get("type") for part in ("model", "decoder")]
    if parts != ["BPE", "ByteLevel"]:
        raise ValueError(f"its model and decoder are {parts[0]} and {parts[1]}, not BPE and ByteLevel")
    model = settings["model"]
    if not isinstance(model.get("vocab"), dict):
        raise ValueError("its model has no vocabulary")
    for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
        if model.get(affix):
            raise ValueError(f"its {affix} is {model[affix]!r}; a byte-level BPE has none")
    check_ids(model["vocab"])
    tokenizer = tokenizers.Tokenizer.from_str(text)
    check_ids(tokenizer.get_vocab())  # with the added tokens
    tokenizer.model.dropout = None  # which would split the same text differently each time
    missing = _missing_bytes(tokenizer)
    if missing and tokenizer.model.unk_token is None:
        raise ValueError(f"it has no pieces for the bytes {', '.join(hex(_BYTES[c]) for c in missing)}")
    return tokenizer


def _splits_only(pre_tokenizer: dict[str, Any] | None) -> bool:
    """Whether text is split and represented byte by byte, without anything being removed or added."""
    match pre_tokenizer:
        case {"type": "Sequence", "pretokenizers": steps}:
            return all(map(_splits_only, steps))
        case {"type": "ByteLevel"}:
            return not pre_tokenizer.get("add_prefix_space", True)
        case {"type": "Split"}:
            return pre_tokenizer.get("behavior") != "Removed"
    return False


def _missing_bytes(tokenizer: tokenizers.Tokenizer) -> list[str]:
    """The characters of bytes that have no piece."""
    return [character for character in _BYTES if tokenizer.token_to_id(character) is None]


def _special(tokenizer: tokenizers.Tokenizer) -> SpecialTokens:
    vocabulary = tokenizer.get_vocab()
    for layout in _LAYOUTS:
        if all(name in vocabulary for name in layout):
            ids = [vocabulary[name] for name in layout]
            tokenizer.add_special_tokens(list(dict.fromkeys(layout)))
            return SpecialTokens(*ids, next(i for i in range(len(vocabulary)) if i not in ids))
    known = " or ".join(" ".join(dict.fromkeys(layout)) for layout in _LAYOUTS)
    raise ValueError(f"its special tokens are unknown; expected {known}")


def byte_tokenizer() -> ByteLevelBpe:
    """Each byte of the UTF-8 text is a token: the ids are 5 + byte, and 0 to 4 for [PAD] [UNK] [CLS] [SEP] [MASK]."""
    pieces = [*PIECES, *sorted(_BYTES, key=_BYTES.__getitem__)]
    model = tokenizers.models.BPE({piece: number for number, piece in enumerate(pieces)}, [])
    return ByteLevelBpe(_byte_level(model).to_str())


def read_byte_level_bpe(path: epath.Path) -> ByteLevelBpe:
    """Reads a `tokenizer.json`, or a `vocab.json` with the `merges.txt` beside it.

    Raises:
      UserError: it is not a byte-level BPE, or its special tokens are neither GPT-2's nor BART's.
    """
    try:
        text = read_text(path)
        settings = parse_json(text)
        if not isinstance(settings, dict):
            raise ValueError("expected a JSON object")
        if not isinstance(settings.get("model"), dict):  # in a vocab.json, "model" may be a piece
            text = _with_merges(path, settings)
        return ByteLevelBpe(text)
    except UserError:
        raise
    except Exception as error:  # the tokenizers library raises plain Exception
        raise UserError(
            f"tokenizer {str(path)!r}: not a byte-level BPE ({error}). Expected the tokenizer.json, or vocab.json and "
            "merges.txt, of GPT-2 or BART."
        ) from error


def _with_merges(path: epath.Path, vocabulary: dict[str, int]) -> str:
    """The tokenizer.json that is equivalent to a `vocab.json` and a `merges.txt` of GPT-2 or BART."""
    merges = path.parent / "merges.txt"
    if not merges.is_file():
        raise UserError(f"tokenizer {str(path)!r}: no merges.txt beside this vocabulary; a BPE needs both.")
    check_ids(vocabulary)
    pairs = [line.split(" ") for line in lines(read_text(merges))]
    pairs = [tuple(pair) for pair in pairs if len(pair) == 2 and pair[0] != "#version:"]
    return _byte_level(tokenizers.models.BPE(vocabulary, pairs)).to_str()


def _byte_level(model: tokenizers.models.BPE) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer
