"""What word vectors show at the end of a run: blanks filled, neighbours, similarity as people judge it, analogies."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssl_jax.data.cbow_rows import Sampling
from ssl_jax.data.cbow_text import CbowText
from ssl_jax.data.pretraining_text import TextConfig
from ssl_jax.errors import UserError
from ssl_jax.evals.word_vectors import (
    Question,
    WordPair,
    analogies,
    folded,
    neighbours,
    read_analogies,
    read_word_pairs,
    similarity,
    word2vec_text,
)
from ssl_jax.reports.files import save_json, save_text
from ssl_jax.reports.middle_words import Contexts, middle_word_accuracy
from ssl_jax.reports.tables import aligned
from ssl_jax.runs.masked_language_models import MaskedLanguageModel, open_masked_language_model
from ssl_jax.runs.reference import RunReference
from ssl_jax.training.distributed import announce
from ssl_jax.training.experiment import Report

NEIGHBOURS = 8
SHOWN = 8
"""Words whose neighbours are shown if none are named: of these, words of at least four letters."""
HELD_OUT_BY = ("source", "format", "column", "heldout_source", "heldout_share")
"""Settings of text that determine which documents are held out."""
MIDDLE_WORDS = {
    "most_frequent": "the most frequent word",
    "left_bigram": "the most frequent word after the left neighbour",
    "two_sided": "the most frequent word between the two neighbours",
    "cbow": "CBOW",
    "bert": "BERT, with the whole word masked in its sentence",
}


class WordTests(NamedTuple):
    """Opened text, and what its word vectors are compared with.

    Attributes:
      text: the corpus.
      words: whose neighbours are shown.
      pairs: of words, with the similarity that people see, by file.
      analogies: questions by section.
      bert: fills the same blanks; None for none.
    """

    text: CbowText
    words: tuple[str, ...]
    pairs: Mapping[str, list[WordPair]]
    analogies: Mapping[str, list[Question]]
    bert: MaskedLanguageModel | None


def open_word_tests(
    text: CbowText,
    data: TextConfig,
    *,
    words: Sequence[str],
    similarity_files: Sequence[str],
    analogy_file: str,
    bert: str,
) -> WordTests:
    """Opens everything that the report needs, so that what is wrong is found before the training.

    Args:
      text: the corpus.
      data: what it was opened from.
      words: whose neighbours are shown; empty for some frequent ones.
      similarity_files: see `read_word_pairs`.
      analogy_file: see `read_analogies`; "" for none.
      bert: RUN or RUN@STEP, of experiments.bert or experiments.albert; "" for none.

    Raises:
      UserError: a word is not in the vocabulary, a file cannot be read, or the run is not one of BERT.
    """
    names = _names(text)
    chosen = [folded(word, text.tokenizer.folds_case) for word in words]
    if unknown := sorted({*chosen} - {*names}):
        raise UserError(
            f"--words {' '.join(unknown)}: not among the {len(names):,} words of the vocabulary; leave them out, or "
            "give more text, a larger --vocab_size or a smaller --data.min_count."
        )
    if not chosen:  # the first words of a vocabulary are the most frequent ones
        chosen = [name for name in names if len(name) >= 4 and name.isalpha()][:SHOWN]
    model = open_masked_language_model(RunReference.parse(bert)) if bert else None
    if model and any(getattr(model.run.config.data, name) != getattr(data, name) for name in HELD_OUT_BY):
        announce(
            f"--bert {bert}: was not trained on {data.source} with the same documents held out; it may know the blanks"
        )
    return WordTests(
        text,
        tuple(chosen),
        {file: read_word_pairs(file) for file in similarity_files},
        read_analogies(analogy_file) if analogy_file else {},
        model,
    )


def report_word_vectors(report: Report, contexts: Contexts, sampling: Sampling, length: int) -> None:
    """Prints tables; writes words.json and vectors.txt.

    Args:
      report: of the run; its data has `WordTests`.
      contexts: the mean vector around each word.
      sampling: how words were chosen in training.
      length: words of a row.
    """
    tests: WordTests = report.data.details
    text, names = tests.text, _names(tests.text)
    first = text.tokenizer.special.first_regular
    vectors = np.asarray(report.variables["params"]["input"]["embedding"])[first : first + len(names)]
    save_text(report, "vectors.txt", word2vec_text(names, vectors))
    accuracies = middle_word_accuracy(
        report, text, contexts, sampling=sampling, length=length, bert=tests.bert
    )
    found: dict[str, Any] = {"middle_words": accuracies}
    if accuracies:
        report.log(f"\n{accuracies['blanks']:,} words of held-out sentences, filled in, in %:")
        cells = [
            ["right", ""],
            *(
                [text, f"{100 * accuracies[name]:.1f}"]
                for name, text in MIDDLE_WORDS.items()
                if name in accuracies
            ),
        ]
        for line in aligned(cells):
            report.log(line)

    numbers, lowercase = {name: i for i, name in enumerate(names)}, text.tokenizer.folds_case
    found["neighbours"] = {
        word: [(names[other], cosine) for other, cosine in neighbours(vectors, numbers[word], NEIGHBOURS)]
        for word in tests.words
    }
    report.log("\nnearest words by cosine:")
    for word, near in found["neighbours"].items():
        report.log(f"  {word}: {', '.join(f'{other} {cosine:.2f}' for other, cosine in near)}")
    found["similarity"] = {}
    for file, pairs in tests.pairs.items():
        result = similarity(vectors, numbers, pairs, lowercase=lowercase)
        known = f"{result.known} of {result.pairs} pairs"
        if math.isfinite(result.correlation):
            report.log(f"\n{file}: Spearman correlation {result.correlation:.3f} on {known}")
        else:
            report.log(f"\n{file}: no correlation, since only {known} have two words that are known")
            result = result._replace(correlation=None)
        found["similarity"][file] = result._asdict()
    if tests.analogies:
        found["analogies"] = _report_analogies(report, vectors, numbers, tests.analogies, lowercase=lowercase)
    save_json(report, "words", found)


def _names(text: CbowText) -> list[str]:
    """The words, in the order of their vectors."""
    return text.tokenizer.pieces(range(text.tokenizer.special.first_regular, text.tokenizer.vocab_size))


def _report_analogies(
    report: Report,
    vectors: np.ndarray,
    numbers: Mapping[str, int],
    sections: Mapping[str, list[Question]],
    *,
    lowercase: bool,
) -> dict[str, Any]:
    found = {
        section: analogies(vectors, numbers, questions, lowercase=lowercase)
        for section, questions in sections.items()
    }
    rows = [
        [
            section,
            f"{100 * one.right / one.known:.1f}" if one.known else "",
            f"{one.known:,} of {one.questions:,}",
        ]
        for section, one in found.items()
    ]
    report.log("\nanalogies solved, in % of the questions whose words are known:")
    for line in aligned([["", "%", "questions"], *rows]):
        report.log(line)
    return {section: one._asdict() for section, one in found.items()}
