"""What every file of a tokenizer must hold to, before memory is taken for it, and which pieces begin a word."""

import json
import unicodedata
from collections.abc import Mapping
from typing import Any

from etils import epath

from ssl_jax.errors import UserError

MAX_FILE_BYTES = 1 << 27
"""The largest files of public tokenizers have 35 MB."""
MAX_PIECES = 1 << 22
"""The largest public vocabularies have 260,000 pieces."""
_MAX_SPARSITY = 4  # ids for each piece; some vocabularies skip a few


def read_bounded(path: epath.Path) -> bytes:
    """Reads a file of a tokenizer.

    Raises:
      UserError: it cannot be read, or it is larger than any tokenizer.
    """
    try:
        size = path.stat().length
        if size > MAX_FILE_BYTES:
            raise UserError(
                f"tokenizer {str(path)!r}: has {size:,} bytes; expected at most {MAX_FILE_BYTES:,}. It is no tokenizer."
            )
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"tokenizer {str(path)!r}: cannot be read ({error.strerror or error}).") from error


def read_text(path: epath.Path) -> str:
    """Reads a text file of a tokenizer, without the byte order mark that it may begin with.

    Raises:
      UserError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_bounded(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"tokenizer {str(path)!r}: byte {error.start} is not UTF-8.") from error


def lines(text: str) -> list[str]:
    r"""The lines of a file, which end at "\n" or "\r\n".

    Other line separators of Unicode are pieces like others: U+2028 is one in multilingual vocabularies.
    """
    parts = text.split("\n")
    if not parts[-1]:
        parts.pop()
    return [part.removesuffix("\r") for part in parts]


def parse_json(text: str) -> Any:
    """Parses JSON in which no object has a key twice.

    Raises:
      ValueError: it is not such JSON.
    """
    try:
        return json.loads(text, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"{key!r} occurs twice")
        result[key] = value
    return result


def check_ids(vocabulary: Mapping[str, Any]) -> None:
    """Checks the ids of a vocabulary: distinct, and not many more than there are pieces.

    Raises:
      ValueError: otherwise; the message names the piece.
    """
    if not vocabulary:
        raise ValueError("its vocabulary is empty")
    limit = min(MAX_PIECES, _MAX_SPARSITY * len(vocabulary))
    of: dict[int, str] = {}
    for piece, token in vocabulary.items():
        if type(token) is not int or not 0 <= token < limit:
            raise ValueError(
                f"the id of {piece!r} is {token!r}; expected an integer from 0 to {limit - 1} for {len(vocabulary)} "
                "pieces"
            )
        if token in of:
            raise ValueError(f"{of[token]!r} and {piece!r} have the same id {token}")
        of[token] = piece


_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""Blocks of ideographs, as in google-research/bert; Japanese kana and Korean Hangul are not among them."""


def is_cjk(character: str) -> bool:
    """Whether a character is a Chinese ideograph, which BERT's tokenizers take for a word of its own.

    Example:
      >>> [is_cjk(character) for character in "中aカ"]
      [True, False, False]
    """
    return any(first <= ord(character) <= last for first, last in _CJK)


def begins_word(text: bytes) -> bool:
    """Whether a token begins a word: with a space, or with punctuation. "see (it)" is three words: "see", " (it", ")".

    A Chinese character is a word, too.

    A token that is a part of a character, such as a single byte of it, continues the word before it; so do combining
    marks and joiners. A token without text, which is a special one, begins a word.

    Args:
      text: UTF-8 text of the token, with the space before it.
    """
    if not text:
        return True
    for length in range(1, 5):
        try:
            first = text[:length].decode()
        except UnicodeDecodeError:
            continue
        continues = first.isalnum() or unicodedata.category(first) in ("Mn", "Mc", "Me", "Cf")
        return first.isspace() or is_cjk(first) or not continues
    return False
