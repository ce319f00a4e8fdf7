"""What word vectors show at the end of a run: words filled in beside n-grams, neighbours, similarity, analogies."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.cbow_rows import noise_distribution
from ssl_jax.data.cbow_text import CbowText
from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.evals.ngram_baselines import leading_documents, masked_token_baselines
from ssl_jax.evals.word_vectors import analogies, neighbours, read_analogies, similarity, word2vec_text
from ssl_jax.method import Batch, Tree
from ssl_jax.reports.files import save_json, save_text
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Report

COUNTED_WORDS = 20_000_000
"""Words of the training text that the baselines are counted in, at most."""
NEIGHBOURS = 8

Contexts = Callable[[Tree, Tree, Batch], jax.Array]
"""As `ssl_jax.methods.cbow.Cbow.contexts`."""


def report_word_vectors(
    report: Report,
    contexts: Contexts,
    *,
    window: int,
    noise: bool,
    words: Sequence[str],
    similarity_files: Sequence[str],
    analogy_file: str,
) -> None:
    """Prints tables; writes words.json and vectors.txt.

    Args:
      report: of the run.
      contexts: the mean vector around each word.
      window: words on each side that a word is predicted from.
      noise: whether the model was trained with noise words.
      words: whose neighbours are shown; those that are not known are left out.
      similarity_files: see `similarity`.
      analogy_file: see `read_analogies`; "" for none.
    """
    text: CbowText = report.data.details
    found: dict[str, Any] = {"middle_word": middle_word_accuracy(report, text, contexts, window, noise)}
    if not report.writes:
        return
    report.log(
        f"\nmiddle words of held-out text, from {window} words on each side, beside counts of neighbours:"
    )
    cells = [[name.replace("_", " "), f"{100 * value:.1f}"] for name, value in found["middle_word"].items()]
    for line in aligned([["accuracy in %", ""], *cells]):
        report.log(line)

    first = text.tokenizer.special.first_regular
    ids = range(first, text.tokenizer.vocab_size)
    names = text.tokenizer.pieces(ids)
    vectors = np.asarray(report.variables["params"]["input"]["embedding"])[first : text.tokenizer.vocab_size]
    numbers, lowercase = {name: i for i, name in enumerate(names)}, text.tokenizer.folds_case
    found["neighbours"] = {
        word: [(names[other], cosine) for other, cosine in neighbours(vectors, numbers[word], NEIGHBOURS)]
        for word in words
        if word in numbers
    }
    report.log("\nnearest words by cosine:")
    for word, near in found["neighbours"].items():
        report.log(f"  {word}: {', '.join(f'{other} {cosine:.2f}' for other, cosine in near)}")
    for file in similarity_files:
        result = similarity(vectors, numbers, file, lowercase=lowercase)
        found.setdefault("similarity", {})[file] = {
            **result._asdict(),
            "correlation": result.correlation if math.isfinite(result.correlation) else None,
        }
        report.log(
            f"\n{file}: Spearman correlation {result.correlation:.3f} on {result.known} of {result.pairs} pairs"
        )
    if analogy_file:
        found["analogies"] = _report_analogies(report, vectors, numbers, analogy_file, lowercase=lowercase)
    save_json(report, "words", found)
    save_text(report, "vectors.txt", word2vec_text(names, vectors))


def middle_word_accuracy(
    report: Report, text: CbowText, contexts: Contexts, window: int, noise: bool
) -> dict[str, float]:
    """Share of the held-out words that are predicted, by the model and by counts of their neighbours.

    A model that was trained with noise words has learnt how much more probable a word is than as a noise word; so the
    probability of that is added.
    """
    words = text.tokenizer.vocab_size
    prior = np.zeros(len(text.counts), np.float32)
    if noise:
        with np.errstate(divide="ignore"):
            prior = np.log(noise_distribution(text.counts)).astype(np.float32)
    prior[words:] = -np.inf

    def predict(params: Tree, extras: Tree, batch: Batch) -> dict[str, jax.Array]:
        whole = {**batch, "window": jnp.full_like(batch["window"], window)}
        logits = contexts(params, extras, whole) @ params["output"]["embedding"].T + prior
        return {
            "word": jnp.argmax(logits, -1).astype(jnp.int32),
            **{name: batch[name] for name in ("tokens", "segment_ids")},
        }

    found = report.map(predict, report.heldout["heldout"])
    tokens, segments = found["tokens"], found["segment_ids"]
    # Words with a neighbour in their sentence on both sides, which the counts need.
    inside = np.zeros(tokens.shape, bool)
    inside[:, 1:-1] = (segments[:, 1:-1] > 0) & (
        (segments[:, 1:-1] == segments[:, :-2]) & (segments[:, 1:-1] == segments[:, 2:])
    )
    counted = known_words(
        leading_documents(text.training_corpus, COUNTED_WORDS), text.tokenizer.special.first_regular
    )
    baselines = masked_token_baselines(counted, tokens, inside)
    return {**baselines, "model": float(np.mean(found["word"][inside] == tokens[inside]))}


def known_words(corpus: TokenizedCorpus, first_word: int) -> TokenizedCorpus:
    """The documents without the tokens that are no words, in memory."""
    documents = [corpus.document(index) for index in range(len(corpus.hashes))]
    kept = [document[document >= first_word] for document in documents]
    offsets = np.concatenate([[0], np.cumsum([len(document) for document in kept])])
    numbers = np.arange(len(kept))
    return corpus._replace(
        tokens=np.concatenate(kept),
        sentence_offsets=offsets,
        first_sentence=numbers,
        end_sentence=numbers + 1,
    )


def _report_analogies(
    report: Report, vectors: np.ndarray, numbers: dict[str, int], file: str, *, lowercase: bool
) -> dict[str, Any]:
    found = {
        section: analogies(vectors, numbers, questions, lowercase=lowercase)
        for section, questions in read_analogies(file).items()
    }
    rows = [
        [section, f"{100 * one.right / max(one.known, 1):.1f}", f"{one.known:,} of {one.questions:,}"]
        for section, one in found.items()
    ]
    report.log(f"\n{file}: analogies solved, in % of the questions whose words are known:")
    for line in aligned([["", "%", "questions"], *rows]):
        report.log(line)
    return {section: one._asdict() for section, one in found.items()}
