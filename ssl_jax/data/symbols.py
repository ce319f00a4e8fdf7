"""Sequences of symbols for a language model: each symbol becomes a random piece of its vocabulary (arXiv:2103.07162).

A symbol is a character (of DNA, of ABC notation) or a word between spaces. Case is kept, whatever the tokenizer does
with text.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict

import numpy as np
from etils import epath

from ssl_jax.data.labelled_text import LabelledText
from ssl_jax.data.ragged import Ragged, Rows
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.files import read_json, write_json

FILE = "symbols.json"
"""The map of a run, in its folder."""
Unit = Literal["character", "word"]
_NO_TEXT = re.compile(rb" ?(\[unused\d+\]|<0x[0-9A-F]{2}>)")
"""Pieces that stand for no text: the unused ones of Google's vocabularies, and single bytes of SentencePiece."""


def split_symbols(text: str, unit: Unit) -> list[str]:
    """The symbols of a sequence.

    Example:
      >>> split_symbols("G2 A", "character"), split_symbols("G2 A", "word")
      (['G', '2', ' ', 'A'], ['G2', 'A'])
    """
    return [*text] if unit == "character" else text.split()


def usable_pieces(tokenizer: Tokenizer) -> np.ndarray:
    """The ids of the pieces that stand for text, rising: no special tokens, no unused pieces, no single bytes."""
    special = {*tokenizer.special[:-1]}
    ids = range(tokenizer.special.first_regular, tokenizer.vocab_size)
    return np.array(
        [
            number
            for number, piece, text in zip(
                ids, tokenizer.pieces(ids), tokenizer.piece_bytes(ids), strict=True
            )
            if number not in special and text and not _NO_TEXT.fullmatch(piece.encode())
        ],
        np.int32,
    )


class _Content(TypedDict):
    """What the file of a map holds."""

    unit: Unit
    ids: dict[str, int]


class SymbolMap(NamedTuple):
    """Which piece stands for each symbol.

    Attributes:
      unit: what a symbol is.
      ids: the id of each symbol's piece; no two symbols have the same one.
      special: of the tokenizer. A symbol without an id is its unknown token.
    """

    unit: Unit
    ids: Mapping[str, int]
    special: SpecialTokens

    @classmethod
    def drawn(cls, texts: Sequence[str], unit: Unit, tokenizer: Tokenizer, seed: int) -> "SymbolMap":
        """A random map of the symbols that occur in texts.

        Args:
          texts: the training data.
          unit: what a symbol is.
          tokenizer: whose pieces are drawn, each with the same chance.
          seed: of the draw. The same symbols, pieces and seed give the same map.

        Raises:
          UserError: there are more symbols than pieces.
        """
        symbols = sorted({symbol for text in texts for symbol in split_symbols(text, unit)})
        pieces = usable_pieces(tokenizer)
        if len(symbols) > len(pieces):
            raise UserError(
                f"data.unit {unit}: the training data has {len(symbols):,} different symbols, but the tokenizer has "
                f"{len(pieces):,} pieces, and each symbol needs one of its own. Give an encoder with a larger "
                f"vocabulary{', or --data.unit character' if unit == 'word' else ''}."
            )
        chosen = np.random.default_rng(seed).choice(pieces, len(symbols), replace=False)
        return cls(unit, dict(zip(symbols, map(int, chosen), strict=True)), tokenizer.special)

    def save(self, folder: epath.Path) -> None:
        """Writes the map into a run folder, unless it is there, as in a folder that is only read."""
        if not (folder / FILE).exists():
            write_json(folder / FILE, {"unit": self.unit, "ids": dict(self.ids)})

    @classmethod
    def read(cls, folder: epath.Path, tokenizer: Tokenizer) -> "SymbolMap":
        """The map of a run folder.

        Args:
          folder: of the run.
          tokenizer: of the run.

        Raises:
          UserError: the map is not there or is damaged.
        """
        absent = f"{folder}: has no {FILE}, which has the piece of each symbol. Bring the whole run folder."
        content = read_json(folder / FILE, _Content, absent)
        ids = content["ids"]
        if not all(0 <= number < tokenizer.vocab_size for number in ids.values()):
            raise UserError(
                f"{folder / FILE}: an id is not one of the {tokenizer.vocab_size:,} of the tokenizer. Bring an "
                "undamaged copy of the run folder."
            )
        return cls(content["unit"], ids, tokenizer.special)

    def unseen(self, texts: Sequence[str]) -> dict[str, int]:
        """The symbols that have no piece, and how often each occurs."""
        symbols = (symbol for text in texts for symbol in split_symbols(text, self.unit))
        return dict(Counter(symbol for symbol in symbols if symbol not in self.ids))

    def rows(
        self, examples: Sequence[LabelledText], labels: np.ndarray, length: int, *, cut: bool
    ) -> tuple[Rows, int]:
        """Rows `[CLS] symbols [SEP]`.

        Args:
          examples: the sequences.
          labels: int32 `[rows]`.
          length: tokens of a row.
          cut: whether longer sequences lose their end.

        Returns:
          The rows, and the number of them that lost symbols.

        Raises:
          UserError: a sequence is empty, or too long and `cut` is False; the message names its place.
        """
        room = length - 2
        if room < 1:
            raise UserError(f"length {length}: a row has no room for symbols; give at least 3.")
        tokens, longer = [], 0
        for example in examples:
            symbols = split_symbols(example.text, self.unit)
            if not example.text.strip():
                raise UserError(
                    f"{example.place}: the sequence is empty. Leave this example out, or correct it."
                )
            if len(symbols) > room and not cut:
                raise UserError(
                    f"{example.place}: a sequence of {len(symbols):,} symbols, but rows of {length} tokens have room "
                    f"for {room}. Shorten it; or train with a larger --length, up to the positions of the encoder, or "
                    "with --data.cut True, which leaves out what comes after."
                )
            longer += len(symbols) > room
            ids = (self.ids.get(symbol, self.special.unk) for symbol in symbols[:room])
            tokens.append([self.special.cls, *ids, self.special.sep])
        ragged = Ragged.of(tokens)
        return Rows(ragged, ragged.lengths, length, self.special.pad, {"label": labels}), longer
