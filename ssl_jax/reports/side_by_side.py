"""Texts that differ a little, printed below each other with their words aligned."""

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

from ssl_jax.data.tokenizers import Tokenizer


def readable(tokens: Sequence[int], tokenizer: Tokenizer, names: Mapping[int, str]) -> str:
    """The text of tokens.

    Args:
      tokens: special ones among them.
      tokenizer: of the text.
      names: of special tokens that are printed, such as [MASK]; others are left out.
    """
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
    """Lines in which the words of several texts stand below each other, aligned with the last text.

    Words that the last text does not have go with the word before them.

    Args:
      texts: by label.
      width: characters of a line, at most.

    Example:
      >>> print("\\n".join(side_by_side({"denoised": "a large one", "original": "a very large one"})))
      denoised  a      large one
      original  a very large one
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
    """The words that stand at each word of the reference."""
    cells: list[list[str]] = [[] for _ in reference]
    matcher = SequenceMatcher(None, reference, words, autojunk=False)
    for _, begin, end, first, last in matcher.get_opcodes():
        if begin == end:  # words that the reference does not have
            cells[max(begin - 1, 0)] += words[first:last]
            continue
        for number, word in enumerate(words[first:last]):
            cells[min(begin + number, end - 1)].append(word)
    return [" ".join(cell) for cell in cells]
