"""Fine-tuning on tagged words: where they are from, their rows, and the metrics of held-out sets."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grain
import numpy as np
from etils import epath

from ssl_jax.data.code_words import code_words
from ssl_jax.data.fine_tuning_rows import TaggingRows, tagging_rows
from ssl_jax.data.labelled_text import LabelSet, TaggedWords, fingerprint, label_set, split_by_hash
from ssl_jax.data.tagged_words import TagColumns, Treebank, read_tagged_words
from ssl_jax.data.tokenizer_files import TokenizerConfig, preprocessing
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.domains import NonEmptyText, PositiveInt, ProperShare, Text
from ssl_jax.errors import UserError
from ssl_jax.evals.tagging import tag_metrics
from ssl_jax.methods.fine_tuning import FineTuning
from ssl_jax.recipes.fine_tuning import open_tokenizer, rows_in_order, training_rows
from ssl_jax.reports.tagging import report_tagging
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Data, Predictor, Report, Score

OFFLINE = "pydocs"
HELDOUT = "heldout"


@dataclass(frozen=True)
class TaggedWordsConfig(TokenizerConfig):
    """Sentences of tagged words. `tokenizer` is that of the encoder unless it is given."""

    source: NonEmptyText = OFFLINE
    """pydocs (which words of the installed documentation are code); a CoNLL file, a word and its tag a line; a .conllu
    treebank; a .jsonl file with lists; or tfds:name/config:split."""
    heldout_source: Text = ""
    """Another source to evaluate on, such as a validation split; empty: a share of the documents is held out."""
    heldout_share: ProperShare = 0.1
    """Share of the documents to hold out if heldout_source is empty; pydocs holds out those of pretraining."""
    words: Text = ""
    """Field with the list of words, of a .jsonl file or a TFDS data set; empty for the usual one."""
    tags: Text = ""
    """Field with the list of tags."""
    treebank: Treebank = "upos"
    """Of a .conllu file: upos for universal, xpos for the language's own parts of speech."""
    step: PositiveInt = 64
    """Tokens from the start of a window to the start of the next, in sentences that are longer than a row."""

    def check_relations(self) -> None:
        if bool(self.words) != bool(self.tags):
            raise UserError("data.words and data.tags: give both fields or none.")

    def step_of(self, length: int) -> int:
        """The step in rows of this length, whose windows must skip no token."""
        return min(self.step, max(1, length - 2))

    @property
    def columns(self) -> TagColumns | None:
        """Where words and tags are; None for the usual places."""
        if self.words:
            return TagColumns(self.words, self.tags, treebank=self.treebank)
        return TagColumns(treebank=self.treebank) if self.source.lower().endswith(".conllu") else None


class Tagged(NamedTuple):
    """Sentences and what is made of them.

    Attributes:
      sentences: with their tags.
      tags: int32 `[words]`, the number of the tag of every word.
      rows: the rows, and where each word is scored.
    """

    sentences: list[TaggedWords]
    tags: np.ndarray
    rows: TaggingRows

    @property
    def lengths(self) -> np.ndarray:
        """Words of each sentence, int64 `[sentences]`."""
        return np.diff(self.rows.sentence_offsets)


class TaggedData(NamedTuple):
    """The training and the held-out sentences."""

    train: Tagged
    heldout: Tagged


def open_tagged_words(config: Any, folder: epath.Path) -> Data:
    """Opens the sentences, and logs how many words there are of each tag.

    Args:
      config: a `FineTuningConfig` with `data: TaggedWordsConfig` and `tags`, their names.
      folder: run folder, for the tokenizer.

    Raises:
      UserError: a source cannot be read, a word has no tag or one that `tags` lacks, or there is a single tag.
    """
    data: TaggedWordsConfig = config.data
    training, heldout = _sentences(data)
    _check_names(training, data.source, config.tags)
    names = label_set(training, data.source, config.tags)
    numbers = [names.tag_ids(part) for part in (training, heldout)]
    tokenizer = open_tokenizer(config, folder)
    step = data.step_of(config.length)
    opened = TaggedData(
        *(
            Tagged(part, tags, tagging_rows(part, tags, tokenizer, config.length, step))
            for part, tags in zip((training, heldout), numbers, strict=True)
        )
    )
    _log(config, opened, names)
    train, test = (part.rows.rows for part in opened)
    return Data(
        train=(training_rows(config, train),),
        heldout=({HELDOUT: rows_in_order(test)},),
        identity={
            "tokenizer": tokenizer.fingerprint,
            "sentences": fingerprint(training, {"step": step}),
            "heldout_sentences": fingerprint(heldout),
        },
        details=opened,
        preprocessing=preprocessing(tokenizer),
    )


def tag_score(tuned: FineTuning, tags: tuple[str, ...]) -> Score:
    """The metrics of all words of a held-out set: entity F1 where tags mark entities, else the F1 of the tags."""

    def metrics(data: Data, split: str, predictions: Any) -> dict[str, float]:
        heldout: Tagged = data.details.heldout
        found = heldout.rows.of_words(predictions["tags"])
        return tag_metrics(heldout.tags, found, heldout.lengths, tags)

    return Score(tuned.predict, metrics)


def tag_predictor(tuned: FineTuning, tags: tuple[str, ...], config: Any) -> Predictor:
    """The tag of each word of a text. Words are what spaces separate."""

    def prepare(
        lines: Sequence[str], tokenizer: Tokenizer
    ) -> tuple[grain.MapDataset, Callable[[Any], list[dict[str, Any]]]]:
        sentences = [TaggedWords(tuple(line.split())) for line in lines]
        unknown = np.full(sum(len(sentence.words) for sentence in sentences), -1, np.int32)
        step = config.data.step_of(config.length)
        made = tagging_rows(sentences, unknown, tokenizer, config.length, step)

        def describe(results: Any) -> list[dict[str, Any]]:
            found = made.by_sentence(made.of_words(results["tags"]))
            return [
                {"text": line, "words": [*sentence.words], "tags": [tags[tag] for tag in of_sentence]}
                for line, sentence, of_sentence in zip(lines, sentences, found, strict=True)
            ]

        return rows_in_order(made.rows), describe

    return Predictor(prepare, tuned.predict)


def report_tags(report: Report, tuned: FineTuning, tags: tuple[str, ...]) -> None:
    """The report of a model of tags; see `report_tagging`."""
    known: TaggedData = report.data.details
    predicted = report.map(tuned.predict, report.heldout[HELDOUT])["tags"]
    pairs = ((part.sentences, part.tags) for part in known)
    report_tagging(report, tags, *pairs, known.heldout.rows.of_words(predicted))


def _log(config: Any, opened: TaggedData, names: LabelSet) -> None:
    rows = len(opened.train.rows.rows)
    epochs = config.steps * config.train.batch_size / rows
    words = [
        f"{len(part.sentences):,} {kind} sentences ({len(part.tags):,} words)"
        for part, kind in zip(opened, ("training", "held-out"), strict=True)
    ]
    lost = opened.train.rows.without_pieces
    unknown = f"; the tokenizer has no piece for {lost:,} words" if lost else ""
    announce(
        f"{config.data.source}: {' and '.join(words)}, {names}; {config.steps:,} steps are {epochs:.1f} epochs of "
        f"{rows:,} rows{unknown}"
    )


def _sentences(data: TaggedWordsConfig) -> tuple[list[TaggedWords], list[TaggedWords]]:
    """(training, held-out)."""
    if data.source == OFFLINE:
        return code_words()
    training = read_tagged_words(data.source, data.columns)
    if not data.heldout_source:
        return split_by_hash(training, data.heldout_share)
    return training, read_tagged_words(data.heldout_source, data.columns)


def _check_names(sentences: list[TaggedWords], source: str, tags: tuple[str, ...]) -> None:
    """Raises UserError, with the option to give, if the data has tags that the model lacks."""
    counts = Counter(tag for sentence in sentences for tag in sentence.tags or ())
    if unknown := counts.keys() - {*tags}:
        raise UserError(
            f"data source {source!r}: {len(unknown)} of its {len(counts)} tags are not among tags {' '.join(tags)}. "
            f"Give --tags {' '.join(map(repr, sorted(counts)[:100]))}."
        )
