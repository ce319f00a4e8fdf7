"""A tokenizer whose pieces are the characters of a text."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import tokenizers
from etils import epath

from ssl_jax.data.offsets import Encoded, encoded
from ssl_jax.data.special_tokens import PIECES, SENTENCEPIECE
from ssl_jax.data.vocabularies import MAX_PIECES, begins_word, parse_json, read_text
from ssl_jax.errors import UserError
from ssl_jax.files import write_whole

FILE = "characters.json"
"""Name of the file, by which it is recognised."""


class Characters:
    """Each character is a token; the ids 0 to 4 are [PAD] [UNK] [CLS] [SEP] [MASK], as in a SentencePiece trained here.

    The other attributes and the methods are those of `ssl_jax.data.tokenizers.Tokenizer`.

    Args:
      characters: those of the vocabulary, in the order of their ids.

    Raises:
      ValueError: they are not distinct single characters.
    """

    special = SENTENCEPIECE
    kind = "characters"
    folds_case = byte_fallback = False
    keeps_text = True

    def __init__(self, characters: Sequence[str]):
        if not (isinstance(characters, list | tuple) and 0 < len(characters) <= MAX_PIECES):
            raise ValueError(f"expected a list of 1 to {MAX_PIECES:,} characters")
        for character in characters:
            if not (isinstance(character, str) and len(character) == 1) or "\ud800" <= character <= "\udfff":
                raise ValueError(f"{character!r:.40} is not one character")
        if len(set(characters)) < len(characters):
            raise ValueError("a character occurs twice")
        first = self.special.first_regular
        self._pieces = [*PIECES, *characters]
        self._ids = {character: first + number for number, character in enumerate(characters)}
        self.vocab_size = len(self._pieces)
        self.fingerprint = hashlib.sha256(self._text.encode()).hexdigest()
        self.starts_word = np.array([begins_word(text) for text in self.piece_bytes(range(self.vocab_size))])

    @property
    def _text(self) -> str:
        return json.dumps({"characters": list(self._ids)}) + "\n"

    def encode(self, text: str) -> list[int]:
        return [self._ids.get(character, self.special.unk) for character in text]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]

    def encode_with_offsets(self, texts: Sequence[str]) -> list[Encoded]:
        return [
            encoded(
                text,
                self.encode(text),
                [(place, place + 1) for place in range(len(text))],
                np.fromiter(map(str.isspace, text), bool, len(text)),
            )
            for text in texts
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text; an unknown character is "\ufffd"."""
        first, unknown = self.special.first_regular, self.special.unk
        return "".join(
            self._pieces[int(i)] if i >= first else "\ufffd" for i in ids if i >= first or i == unknown
        )

    def pieces(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[int(i)].replace(" ", "▁") for i in ids]

    def piece_bytes(self, ids: Sequence[int]) -> list[bytes]:
        first = self.special.first_regular
        return [self._pieces[int(i)].encode() if i >= first else b"" for i in ids]

    def save(self, folder: epath.Path) -> epath.Path:
        path = epath.Path(folder) / FILE
        write_whole(path, self._text.encode())
        return path

    def to_json(self) -> str:
        vocabulary = {piece: number for number, piece in enumerate(self._pieces)}
        converted = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, PIECES[self.special.unk]))
        single = tokenizers.Regex(r"[\s\S]")
        converted.pre_tokenizer = tokenizers.pre_tokenizers.Split(single, "isolated")
        converted.decoder = tokenizers.decoders.Fuse()
        return converted.to_str()

    def unknown(self, text: str) -> Counter[str]:
        """The characters of a text that are not in the vocabulary, and how often each occurs."""
        counts = Counter(text)
        return Counter({character: counts[character] for character in counts.keys() - self._ids.keys()})


def train_characters(texts: Iterable[str], vocab_size: int) -> Characters:
    """The tokenizer of the most frequent characters of a text, all of which is read.

    Args:
      texts: the text.
      vocab_size: largest number of ids, including the five special tokens.

    Raises:
      UserError: there is no text, or no room for a character.
    """
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    room = vocab_size - SENTENCEPIECE.first_regular
    if not counts or room < 1:
        raise UserError(
            f"a vocabulary of {vocab_size} ids cannot be made of this text, of {len(counts)} different characters; "
            f"expected at least one, and at least {SENTENCEPIECE.first_regular + 1} ids, of which "
            f"{SENTENCEPIECE.first_regular} are special tokens (--model.vocab_size)."
        )
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:room]
    return Characters(sorted(frequent))


def read_characters(path: epath.Path) -> Characters:
    """Reads a file that `Characters.save` has written.

    Raises:
      UserError: it is not such a file.
    """
    try:
        settings = parse_json(read_text(path))
        if not (isinstance(settings, dict) and [*settings] == ["characters"]):
            raise ValueError('expected the object {"characters": [...]}')
        return Characters(settings["characters"])
    except ValueError as error:
        raise UserError(
            f"tokenizer {str(path)!r}: not a vocabulary of characters ({error}). Expected the {FILE} of a run with "
            "--data.tokenizer characters."
        ) from error
