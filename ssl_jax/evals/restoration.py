"""How much of corrupted text was restored: against the original, beside what counting restores, and side by side."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.masked_baselines import Commonest

Tokens = Sequence[int]


class Restored(NamedTuple):
    """Shares of a set of rows.

    Attributes:
      exact: rows that equal their original, token for token.
      tokens: tokens that stand where they belong: those that an alignment of restored and original text matches, of
        the longer of the two.
      hidden: of the original tokens that the corrupted text does not show in their order, those that came back.
    """

    exact: float
    tokens: float
    hidden: float


def count_restored(
    shown: Sequence[Tokens], restored: Sequence[Tokens], originals: Sequence[Tokens]
) -> Restored:
    """Compares restored rows with their originals. `shown` is what the corrupted text has; no row holds special tokens."""
    exact = tokens = longest = hidden = found = 0
    for left, written, original in zip(shown, restored, originals, strict=True):
        kept, right = _matched(left, original), _matched(written, original)
        exact += list(written) == list(original)
        tokens += right.sum()
        longest += max(len(written), len(original))
        hidden += (~kept).sum()
        found += (right & ~kept).sum()
    return Restored(exact / len(originals), tokens / max(longest, 1), found / max(hidden, 1))


def _matched(tokens: Tokens, original: Tokens) -> np.ndarray:
    """bool `[original]`: the tokens of the original that an alignment finds in `tokens`."""
    matched = np.zeros(len(original), bool)
    matcher = SequenceMatcher(None, list(tokens), list(original), autojunk=False)
    for block in matcher.get_matching_blocks():
        matched[block.b : block.b + block.size] = True
    return matched


class Counts:
    """What counting the neighbours in training text says of a token.

    Args:
      text: int `[tokens]`, training rows one after the other, without padding.
      size: number of different tokens.
    """

    def __init__(self, text: np.ndarray, size: int):
        text = text.astype(np.int64)
        left, middle, right = text[:-2], text[1:-1], text[2:]
        self._size = size
        self._commonest = int(np.bincount(text).argmax())
        self._after = Commonest(left, middle, size)
        self._between = Commonest(left * size + right, middle, size)

    def after(self, left: np.ndarray) -> np.ndarray:
        """The commonest token after each of these; the commonest of all after one that is new."""
        return self._after.predict(left.astype(np.int64), np.full(left.shape, self._commonest))

    def fill(self, source: Tokens, blank: np.ndarray) -> list[int]:
        """The text with one token in every place that is `blank`: the commonest between its neighbours.

        Where they never stood so, or another blank follows, the commonest after the left one.
        """
        filled = np.array(source, np.int64)
        for place in np.flatnonzero(blank):
            left = filled[max(place - 1, 0)][None]
            guess = self.after(left)
            if place + 1 < len(filled) and not blank[place + 1]:
                guess = self._between.predict(left * self._size + filled[place + 1], guess)
            filled[place] = guess[0]
        return filled.tolist()


def whole_text(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """BART writes the whole text anew."""
    return written.tolist()


def filled_fragment(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """MASS writes a token for each blank, in their order; blanks that it leaves are left out."""
    places = np.flatnonzero(blank)
    filled = source.copy()
    filled[places[: len(written)]] = written[: len(places)]
    return np.delete(filled, places[len(written) :]).tolist()


def filled_spans(source: np.ndarray, blank: np.ndarray, written: np.ndarray) -> list[int]:
    """T5 writes each sentinel and then what belongs there; a sentinel that it does not write gets nothing."""
    spans: dict[int, list[int]] = {}
    span: list[int] = []
    sentinels = set(source[blank].tolist())
    for token in written.tolist():
        if token in sentinels:
            span = spans.setdefault(token, [])
        else:
            span.append(token)
    return [
        token
        for place in source.tolist()
        for token in (spans.get(place, []) if place in sentinels else [place])
    ]


def readable(tokens: Tokens, tokenizer: Tokenizer, names: Mapping[int, str]) -> str:
    """Text with the special tokens among `names` written by their name, such as [MASK], and others left out."""
    parts, run = [], []
    for token in [*map(int, tokens), None]:
        special = token is None or token >= tokenizer.vocab_size or token in tokenizer.special[:-1]
        if not special:
            run.append(token)
            continue
        parts += [tokenizer.decode(run), names.get(token, "")]
        run = []
    return " ".join(part for part in parts if part)


def side_by_side(texts: Mapping[str, str], width: int = 100) -> list[str]:
    """Lines in which the words of several texts stand below each other, aligned with the last of them.

    texts: by label. Words that the last text does not have go with the word before them.
    """
    *others, reference = texts.values()
    words = reference.split() or [""]
    columns = [*(_cells(text.split(), words) for text in others), words]
    label_width = max(map(len, texts)) + 2
    lines: list[str] = []
    block = [label.ljust(label_width) for label in texts]
    for cells in zip(*columns, strict=True):
        wide = max(map(len, cells))
        if len(block[0]) > label_width and len(block[0]) + wide > width:
            lines += [*(line.rstrip() for line in block), ""]
            block = [label.ljust(label_width) for label in texts]
        block = [line + cell.ljust(wide + 1) for line, cell in zip(block, cells, strict=True)]
    return [*lines, *(line.rstrip() for line in block)]


def _cells(words: list[str], reference: list[str]) -> list[str]:
    """What of `words` stands at each word of the reference."""
    cells: list[list[str]] = [[] for _ in reference]
    matcher = SequenceMatcher(None, reference, words, autojunk=False)
    for _, begin, end, first, last in matcher.get_opcodes():
        if begin == end:  # words that the reference does not have
            cells[max(begin - 1, 0)] += words[first:last]
            continue
        for number, word in enumerate(words[first:last]):
            cells[min(begin + number, end - 1)].append(word)
    return [" ".join(cell) for cell in cells]
