"""The text of TFDS data sets as documents."""

import re

from ssl_jax.data.sentences import split_sentences
from ssl_jax.data.text_files import lines_with_ends
from ssl_jax.data.tfds_source import TfdsSource

_BLANK_LINES = re.compile(r"\n\s*\n")
# Wiki-40B has markup. BERT's text is the passages only, without titles and headers (arXiv:1810.04805, section 3.1).
_WIKI40B_HEADER = re.compile(r"\n?_START_(?:ARTICLE|SECTION)_\n[^\n]*")


class TfdsText:
    """The field `text` of a prepared TFDS data set as documents, each a list of sentences split by rules.

    Args:
      spec: `name[/config[:version]][:split]`; the split is "train" by default and may be a slice, "train[:10%]".
      verbatim: whether a document is its text as it is, line by line with the ends of the lines.

    Raises:
      UserError: the data set is unknown or not prepared, the split does not exist, or there is no field `text`.
    """

    def __init__(self, spec: str, verbatim: bool = False):
        source = TfdsSource(spec)
        self.name = source.name
        split = source.split or "train"
        self._records = source.records(split)
        source.require("text")
        self._verbatim = verbatim
        self.fingerprint = source.fingerprint(split, self._records) + (" verbatim" if verbatim else "")

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> list[str]:
        text = _text(self._records[index])
        if self._verbatim:
            return lines_with_ends(text)
        return [s for paragraph in paragraphs(text) for s in split_sentences(paragraph)]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of an article, separated by blank lines or by Wiki-40B's markup."""
    if "_START_ARTICLE_" not in text:
        return _BLANK_LINES.split(text)
    text = _WIKI40B_HEADER.sub("\n", text)
    return [p for p in re.split(r"_START_PARAGRAPH_|_NEWLINE_", text) if p.strip()]


def _text(record: dict[str, bytes | str]) -> str:
    text = record["text"]
    return text.decode("utf-8") if isinstance(text, bytes) else text
