"""Text of several languages for pretraining: one vocabulary, and batches in which small languages are not lost.

A language with n tokens has a share of the rows in proportion to n^alpha (multilingual BERT, google-research/bert,
multilingual.md). The vocabulary is trained on a mixture with the same exponent.

`shifted:NAME` is an artificial language: the text of NAME, with other ids (K et al. 2020, arXiv:1912.07840; Dufter and
Schuetze 2020, arXiv:2005.00396). It has the grammar of NAME and shares no piece with it, and the dictionary is known.
The two languages are trained on different halves of the documents, so that no sentence is in both; the held-out
documents are the same, and parallel.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.characters import train_characters
from ssl_jax.data.corpus import TokenizedCorpus, is_heldout, split, tokenize_corpus
from ssl_jax.data.pretraining_text import HELDOUT_SEED, MakeRows, Rows, TokenizingProgress
from ssl_jax.data.shifted_language import shifted
from ssl_jax.data.sources import Source, open_source
from ssl_jax.data.special_tokens import SpecialTokens
from ssl_jax.data.text_files import SentenceFormat
from ssl_jax.data.tokenizer_files import TokenizerConfig, open_run_tokenizer
from ssl_jax.data.tokenizers import Tokenizer, train_sentencepiece
from ssl_jax.domains import NonEmptyText, PositiveInt, PositiveShare, ProperShare
from ssl_jax.errors import UserError

SHIFTED = "shifted:"
HALVES_SEED = 1
"""Which half of the documents a shifted language is trained on; another seed than that of the held-out documents."""
SHARE_SEED = 2
"""Which documents are left of the training text if only a share of them is used."""
SAMPLED_DOCUMENTS = 1000
"""By which the length of the documents of a source is estimated, before there is a vocabulary."""


@dataclass(frozen=True)
class LanguagesConfig(TokenizerConfig):
    """The text of each language, and the vocabulary of all."""

    sources: tuple[NonEmptyText, ...] = ("en=pydocs", "fake=shifted:en")
    """NAME=SOURCE for each language; a source is that of experiments.bert, or shifted:NAME."""
    alpha: PositiveShare = 0.7
    """Rows of a language with n tokens are drawn in proportion to n^alpha; 1 for as they come."""
    format: SentenceFormat = "lines"
    """Of text files. lines: one sentence per line, a blank line between documents; raw: prose."""
    column: NonEmptyText = "text"
    """Column of .tsv files."""
    heldout_share: ProperShare = 0.05
    """Share of the documents of each language to hold out."""
    heldout_rows: PositiveInt = 512
    """Largest number of rows of each language in an evaluation."""
    training_share: PositiveShare = 1.0
    """Share of the training documents to train on, to see what more text would bring."""

    def check_relations(self) -> None:
        super().check_relations()
        named: list[str] = []
        for entry in self.sources:
            name, separator, source = entry.partition("=")
            if not (separator and name.isidentifier() and source):
                raise UserError(
                    f"data.sources {entry!r}: expected NAME=SOURCE, such as en=english.txt; a name has letters and "
                    "digits."
                )
            if name in named:
                raise UserError(f"data.sources: the language {name} is named twice.")
            base = source.removeprefix(SHIFTED)
            if source.startswith(SHIFTED) and base not in self.own_sources:
                raise UserError(
                    f"data.sources {entry}: {base} is not one of the languages with a source of their own; expected "
                    f"shifted: and one of {', '.join(self.own_sources) or 'them'}."
                )
            named.append(name)
        if len(set(bases := list(self.shifted.values()))) < len(bases):
            raise UserError(
                "data.sources: a language is shifted twice; once gives another language with its text."
            )
        if not self.own_sources:
            raise UserError("data.sources: no language; expected NAME=SOURCE for each.")

    @property
    def names(self) -> tuple[str, ...]:
        """The languages, in their order."""
        return tuple(entry.partition("=")[0] for entry in self.sources)

    @property
    def own_sources(self) -> dict[str, str]:
        """Source by language, of those that are not shifted."""
        pairs = (entry.partition("=")[::2] for entry in self.sources)
        return {name: source for name, source in pairs if not source.startswith(SHIFTED)}

    @property
    def shifted(self) -> dict[str, str]:
        """The language whose text it has, by shifted language."""
        pairs = (entry.partition("=")[::2] for entry in self.sources)
        return {name: source.removeprefix(SHIFTED) for name, source in pairs if source.startswith(SHIFTED)}


class Language(NamedTuple):
    """The opened text of a language.

    Attributes:
      name: of the language.
      training: tokenised training documents.
      heldout: tokenised held-out documents.
      shift: what is added to the ids of its pieces; special tokens keep theirs.
      share: of the rows of training.
    """

    name: str
    training: TokenizedCorpus
    heldout: TokenizedCorpus
    shift: int
    share: float


class Languages(NamedTuple):
    """The opened text of all languages.

    Attributes:
      languages: in the order of the configuration.
      tokenizer: of all of them.
      ids: number of ids, those of shifted pieces included.
    """

    languages: tuple[Language, ...]
    tokenizer: Tokenizer
    ids: int

    def __getitem__(self, name: str) -> Language:
        """The language of a name.

        Raises:
          UserError: there is none.
        """
        for language in self.languages:
            if language.name == name:
                return language
        known = ", ".join(language.name for language in self.languages)
        raise UserError(f"{name!r} is not a language of this run; expected one of {known}.")


def open_languages(config: LanguagesConfig, folder: epath.Path, *, vocab_size: int) -> Languages:
    """Opens the text of all languages, with the tokenizer of the run.

    Args:
      config: settings of the text and the tokenizer.
      folder: run folder, for the tokenizer's files.
      vocab_size: rows of the model's embedding table, among them those of shifted pieces.

    Raises:
      UserError: a source is missing, empty or too small, or the vocabulary is too large.
    """
    sources = {
        name: open_source(source, config.format, config.column) for name, source in config.own_sources.items()
    }
    copies = 1 + len(config.shifted)

    def train() -> Tokenizer:
        if config.tokenizer == "characters":
            documents = (source[index] for source in sources.values() for index in range(len(source)))
            return train_characters(itertools.chain.from_iterable(documents), vocab_size // copies)
        sentences = mixed_sentences(list(sources.values()), config.alpha)
        return train_sentencepiece(
            sentences,
            vocab_size // copies,
            lowercase=config.lowercase,
            byte_fallback=config.byte_fallback,
            single_cjk=True,
        )

    tokenizer = open_run_tokenizer(config, folder, train)
    ids = tokenizer.vocab_size * copies
    if ids > vocab_size:
        shifted = f", and {len(config.shifted)} shifted languages each have as many" if copies > 1 else ""
        raise UserError(
            f"data.tokenizer {config.tokenizer}: has {tokenizer.vocab_size} pieces{shifted}, more than "
            f"model.vocab_size {vocab_size}; give --model.vocab_size {ids}."
        )
    parts = {}
    for name, source in sources.items():
        progress = TokenizingProgress(f"tokenising {config.own_sources[name]}")
        corpus = tokenize_corpus(source, tokenizer, progress=progress)
        training, heldout = split(corpus, config.heldout_share, HELDOUT_SEED)
        if config.training_share < 1:
            kept = is_heldout(training.hashes, config.training_share, SHARE_SEED, training.name)
            training = training.select(kept)
        parts[name] = training, heldout
    shifts = dict.fromkeys(parts, 0)
    for number, (name, base) in enumerate(config.shifted.items(), 1):
        training, heldout = parts[base]
        other = is_heldout(training.hashes, 0.5, HALVES_SEED, training.name)
        parts[base], parts[name] = (
            (training.select(~other), heldout),
            (training.select(other), heldout),
        )
        shifts[name] = number * tokenizer.vocab_size
    shares = sampling_shares(
        [int(parts[name][0].document_lengths.sum()) for name in config.names], config.alpha
    )
    languages = (
        Language(name, *parts[name], shifts[name], share)
        for name, share in zip(config.names, shares, strict=True)
    )
    return Languages(tuple(languages), tokenizer, ids)


def sampling_shares(sizes: Sequence[float], alpha: float) -> list[float]:
    """The share of each language, in proportion to size^alpha.

    Example:
      >>> [round(share, 3) for share in sampling_shares([1000, 10], 0.5)]
      [0.909, 0.091]
    """
    weights = (np.asarray(sizes, np.float64) / max(sizes)) ** alpha
    return (weights / weights.sum()).tolist()


def mixed_sentences(sources: Sequence[Source], alpha: float) -> Iterator[str]:
    """Sentences of all sources in their shares, in random order of the documents, until the first source is used up.

    A source that is used up earlier than the one with the most text for its share begins again, so that the text of a
    small language is read several times.

    Args:
      sources: one for each language.
      alpha: see `sampling_shares`; the sizes are characters, estimated from some documents.
    """
    chance = np.random.default_rng(HELDOUT_SEED)
    orders = [chance.permutation(len(source)) for source in sources]
    sizes = [_characters(source, order) for source, order in zip(sources, orders, strict=True)]
    shares = sampling_shares(sizes, alpha)
    # How much of the mixture there is until the last source has been read once.
    longest = max(size / share for size, share in zip(sizes, shares, strict=True))
    read, at = np.zeros(len(sources)), [0] * len(sources)
    while read.sum() < longest:
        behind = int(np.argmin(read / shares))
        document = sources[behind][int(orders[behind][at[behind] % len(orders[behind])])]
        at[behind] += 1
        read[behind] += 1 + sum(map(len, document))  # an empty document counts, so that this comes to an end
        yield from document


def _characters(source: Source, order: np.ndarray) -> float:
    some = order[:SAMPLED_DOCUMENTS]
    return max(1, sum(len(sentence) for i in some for sentence in source[int(i)])) * len(source) / len(some)


class LanguageRows:
    """The rows of one language among several.

    Args:
      rows: rows with the ids of the tokenizer.
      shift: added to the ids of its pieces.
      ids: number of ids of all languages: a random replacement may be of any of them.
      special: ids that keep their meaning.
      first_position: added to the positions, if the language has positions of its own; otherwise 0.
    """

    def __init__(self, rows: Rows, *, shift: int, ids: int, special: SpecialTokens, first_position: int = 0):
        self._rows, self._shift, self._special = rows, shift, special
        self._ids, self._first_position = np.asarray(ids, np.int32), np.int32(first_position)

    def __len__(self) -> int:
        return len(self._rows)

    def __call__(self, row: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        arrays = {**self._rows(row, rng), "vocab_size": self._ids}
        arrays["tokens"] = shifted(arrays["tokens"], self._shift, self._special)
        if self._first_position:
            arrays["positions"] = arrays["positions"] + self._first_position
        return arrays


def training_mixture(
    opened: Languages,
    make_rows: MakeRows,
    length: int,
    *,
    batch_size: int,
    seed: int,
    own_positions: bool = False,
) -> grain.MapDataset:
    """An endless data set of rows of all languages in their shares.

    Args:
      opened: the languages.
      make_rows: makes the rows of a corpus.
      length: tokens per row.
      batch_size: rows per batch; each language must have at least its share of them.
      seed: determines the order of the rows.
      own_positions: whether each language has positions of its own; the rows must have positions.

    Raises:
      UserError: a language has too little text.
    """
    parts = []
    for number, language in enumerate(opened.languages):
        make = _rows(opened, language, language.training, make_rows, length, number if own_positions else 0)
        if len(make) < language.share * batch_size:
            raise UserError(
                f"data.sources: the language {language.name} makes {len(make)} rows of {length} tokens, fewer than its "
                f"share of one batch; give more text, or a smaller --train.batch_size."
            )
        parts.append(
            grain.MapDataset.range(len(make)).seed(seed + number).shuffle().repeat().random_map(make)
        )
    return grain.MapDataset.mix(parts, weights=[language.share for language in opened.languages])


def heldout_rows(
    opened: Languages, make_rows: MakeRows, length: int, most: int, *, own_positions: bool = False
) -> dict[str, grain.MapDataset]:
    """Rows of the held-out documents of each language, by its name; see `training_mixture`.

    Args:
      most: largest number of rows of each language.
    """
    datasets = {}
    for number, language in enumerate(opened.languages):
        make = _rows(opened, language, language.heldout, make_rows, length, number if own_positions else 0)
        shuffled = grain.MapDataset.range(len(make)).seed(HELDOUT_SEED).shuffle()
        datasets[language.name] = shuffled[:most].random_map(make)
    return datasets


def _rows(
    opened: Languages,
    language: Language,
    corpus: TokenizedCorpus,
    make_rows: MakeRows,
    length: int,
    positions: int,
) -> LanguageRows:
    return LanguageRows(
        make_rows(corpus, length, opened.tokenizer),
        shift=language.shift,
        ids=opened.ids,
        special=opened.tokenizer.special,
        first_position=positions * length,
    )
