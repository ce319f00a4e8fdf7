"""Articles and sentences that do not belong together, for learning to summarise without pairs.

A source of articles with summaries is cut into three parts by a hash of the summary: of the first only the articles are
read, of the second only the summaries, and of the third the pairs, for evaluation alone. Equal summaries are in one
part, so that no summary of the test is among the sentences that a model learns from.
"""

import hashlib
from typing import Literal, Protocol

from ssl_jax.data.docstring_summaries import DocstringSummaries
from ssl_jax.data.sentences import split_sentences
from ssl_jax.data.sources import Source, TextFormat, open_source
from ssl_jax.data.tfds_source import TfdsSource
from ssl_jax.data.tfds_text import paragraphs
from ssl_jax.data.tsv import Tsv, is_tsv
from ssl_jax.errors import UserError

Part = Literal["articles", "sentences", "test"]

TFDS_FIELDS = {
    "xsum": ("document", "summary"),
    "gigaword": ("document", "summary"),
    "cnn_dailymail": ("article", "highlights"),
}
"""Fields of the article and of its summary, by the name of the data set."""
TEST_SHARE = {"pydocs": 1 / 3}
"""Share of a source that is its test part; half of the rest are articles, the other half sentences."""
LARGE_TEST_SHARE = 0.02
"""The same of data sets that are not listed in `TEST_SHARE`, which have hundreds of thousands of articles."""


class Summarised(Protocol):
    """Articles with summaries.

    Attributes:
      name: name in messages.
      fingerprint: changes when the texts may have changed.
    """

    name: str
    fingerprint: str

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> tuple[list[str], str]:
        """(sentences of the article, summary); the article may be empty."""


class TfdsSummaries:
    """A prepared TFDS data set of articles with summaries; see `TFDS_FIELDS`.

    Raises:
      UserError: the data set is unknown or not prepared.
    """

    def __init__(self, spec: str):
        source = TfdsSource(spec)
        self.name, split = source.name, source.split or "train"
        self._records = source.records(split)
        self._fields = TFDS_FIELDS[_data_set(spec)]
        for field in self._fields:
            source.require(field)
        self.fingerprint = source.fingerprint(split, self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> tuple[list[str], str]:
        record = self._records[index]
        article, summary = (_decoded(record[field]) for field in self._fields)
        sentences = [one for paragraph in paragraphs(article) for one in split_sentences(paragraph)]
        return sentences, " ".join(summary.split())


class TsvSummaries:
    """The columns `article` and `summary` of a .tsv file.

    Raises:
      UserError: the file cannot be read, or has no such column.
    """

    def __init__(self, path: str):
        table = Tsv(path)
        self.name = path
        self._pairs = list(zip(table.column("article"), table.column("summary"), strict=True))
        self.fingerprint = hashlib.sha256(repr(self._pairs).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> tuple[list[str], str]:
        article, summary = self._pairs[index]
        return split_sentences(article), summary


class PartOf:
    """One part of articles with summaries, as a source of text: the articles, or the summaries.

    Documents of the other parts are empty, and so left out where the text is tokenised: no text is read twice.

    Args:
      pairs: articles with summaries.
      part: which part.
      test_share: see `part_of`.
    """

    def __init__(self, pairs: Summarised, part: Literal["articles", "sentences"], test_share: float):
        self._pairs, self._part, self._share = pairs, part, test_share
        self.name = f"{pairs.name} ({part})"
        self.fingerprint = hashlib.sha256(f"{part} {test_share} {pairs.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> list[str]:
        article, summary = self._pairs[index]
        part = part_of(summary, self._share) if article else "sentences"
        if part == "test" or part != self._part:
            return []
        return article if part == "articles" else [summary]


class EachSentence:
    """A source in which every sentence is a document."""

    def __init__(self, source: Source):
        self._sentences = [sentence for index in range(len(source)) for sentence in source[index]]
        self.name = source.name
        self.fingerprint = hashlib.sha256(f"each sentence {source.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self._sentences)

    def __getitem__(self, index: int) -> list[str]:
        return [self._sentences[index]]


def part_of(summary: str, test_share: float) -> Part:
    """The part of a pair, from a hash of the letters of its summary.

    Args:
      summary: its text.
      test_share: share of the test part; the other two are equally large.
    """
    letters = "".join(filter(str.isalnum, summary)).lower()
    share = int.from_bytes(hashlib.blake2b(letters.encode(), digest_size=8).digest()) / 2**64
    if share < test_share:
        return "test"
    return "articles" if share < (1 + test_share) / 2 else "sentences"


def open_summarised(spec: str) -> Summarised | None:
    """Articles with summaries; None for a source of text alone.

    Args:
      spec: pydocs, or the name of a data set in `TFDS_FIELDS`, as `tfds:NAME[/CONFIG][:SPLIT]`.
    """
    if spec == "pydocs":
        return DocstringSummaries()
    data_set = spec.removeprefix("tfds:")
    return TfdsSummaries(data_set) if spec != data_set and _data_set(data_set) in TFDS_FIELDS else None


def test_share(spec: str) -> float:
    """The share of the test part of a source that `open_summarised` opens."""
    return TEST_SHARE.get(spec, LARGE_TEST_SHARE)


def open_unpaired(articles: str, sentences: str, format: TextFormat) -> tuple[Source, Source]:
    """Opens articles and sentences that do not belong together.

    Args:
      articles: a source of `open_summarised`, whose articles part is read, or of `open_source`.
      sentences: the same; of a source with summaries, the sentences part is read.
      format: of text files.

    Raises:
      UserError: a source cannot be opened, or both are the same text.
    """
    opened: list[Source] = []
    for spec, part in ((articles, "articles"), (sentences, "sentences")):
        pairs = open_summarised(spec)
        opened.append(PartOf(pairs, part, test_share(spec)) if pairs else open_source(spec, format))
    if opened[0].fingerprint == opened[1].fingerprint:
        raise UserError(
            f"data.articles {articles} and data.sentences {sentences} are the same text: a model would learn to write "
            "parts of articles. Give sentences of another source as data.sentences, such as headlines."
        )
    if isinstance(opened[1], PartOf):
        return opened[0], opened[1]
    return opened[0], EachSentence(opened[1])


def open_test(test: str, articles: str, most: int) -> list[tuple[list[str], str]]:
    """Pairs for evaluation, in an order that does not depend on where they come from; empty if there are none.

    Args:
      test: a .tsv file with the columns `article` and `summary`; empty for the test part of `articles`.
      articles: the source of the articles of training.
      most: largest number of pairs.

    Raises:
      UserError: the file cannot be read, or is no .tsv file.
    """
    if test:
        if not is_tsv(test):
            raise UserError(
                f"data.test {test}: expected a .tsv file with a header line and the columns article and summary."
            )
        return _spread(TsvSummaries(test), 1.0, most)
    pairs = open_summarised(articles)
    return [] if pairs is None else _spread(pairs, test_share(articles), most)


def _spread(pairs: Summarised, share: float, most: int) -> list[tuple[list[str], str]]:
    """Pairs of the test part, sorted by a hash so that neighbours do not belong to one module or day."""
    found: list[tuple[list[str], str]] = []
    for index in range(len(pairs)):
        article, summary = pairs[index]
        if article and summary and part_of(summary, share) == "test":
            found.append((article, summary))
            if len(found) >= 20 * most:  # enough of a large data set
                break
    found.sort(key=lambda pair: hashlib.blake2b(pair[1].encode(), digest_size=8).digest())
    return found[:most]


def _data_set(spec: str) -> str:
    """The name in `NAME[/CONFIG][:SPLIT]`."""
    return spec.split(":")[0].split("/")[0]


def _decoded(text: bytes | str) -> str:
    return text.decode("utf-8") if isinstance(text, bytes) else text
