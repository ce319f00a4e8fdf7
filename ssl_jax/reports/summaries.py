"""What runs that learn to summarise show: codes, how well they serve each purpose, and baselines."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import grain
import jax
import numpy as np

from ssl_jax.data.summary_rows import SummaryText
from ssl_jax.decoding.pointer import Writing, Written, word_ids, write_texts
from ssl_jax.evals.ngram_baselines import KneserNey, leading_documents
from ssl_jax.evals.paired import mean_ahead
from ssl_jax.evals.rouge import Rouge, mean_of, mean_rouge, rouges
from ssl_jax.evals.summaries import (
    ALIKE,
    best_window,
    bits_per_word,
    distinct_share,
    document_counts,
    first_words,
    tf_idf_extract,
)
from ssl_jax.losses.adversarial import mean_over_text
from ssl_jax.losses.policy_gradient import copied_ngrams, repeated_ngrams
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.methods.summarization import Networks, reconstruction, unpaired_rows
from ssl_jax.ops.reductions import argmin
from ssl_jax.reports.files import save_json, save_text
from ssl_jax.reports.side_by_side import readable
from ssl_jax.reports.summary_rewards import report_rewards
from ssl_jax.reports.tables import aligned
from ssl_jax.training.experiment import Data, Report, Score

SHOWN = 5
"""Articles shown after each evaluation; twice as many at the end."""
ORDER = 3
"""Length of the n-grams of real sentences."""
COUNTED_TOKENS = 1_000_000
"""They are counted in this much of the sentences of training at most."""

Cell = float | tuple[float, float] | None
"""Of the table: a number, the ends of an interval, or nothing."""


class Measured(NamedTuple):
    """Texts in the place of codes, as the networks judge them; arrays are [texts].

    Attributes:
      nats: of the article, per token, predicted from the text.
      score: the critic's logit, mean over prefixes.
      copied: share of the tokens that end four tokens of the article.
      repeated: share of the tokens that end a repeated pair.
    """

    nats: np.ndarray
    score: np.ndarray
    copied: np.ndarray
    repeated: np.ndarray


def code_score(networks: Networks) -> Score:
    """Metrics of the greedy codes of a whole held-out set.

    `distinct_codes`, the share of different codes; `code_words`, their mean number of words; `bits_per_word`, how
    unexpected they are to 3-grams of real sentences; and, of the validation pairs if there are any, ROUGE-1, 2 and L as
    `unigram_rouge`, `bigram_rouge` and `subsequence_rouge`.
    """

    def metrics(data: Data, split: str, codes: Written) -> Mapping[str, float]:
        text: SummaryText = data.details
        ids = word_ids(codes, networks.writing)
        texts = [text.tokenizer.decode(row) for row in ids]
        words = count_words(texts)
        found = {
            "distinct_codes": distinct_share(ids),
            "code_words": words / len(texts),
            "bits_per_word": bits_per_word(sentence_ngrams(text), ids, words),
        }
        if text.validation:
            rouge = mean_rouge(texts, [pair.summary for pair in text.validation])
            names = ("unigram_rouge", "bigram_rouge", "subsequence_rouge")
            found |= dict(zip(names, rouge, strict=True))
        return found

    return Score(_writer(networks), metrics)


def sample_summaries(report: Report, networks: Networks) -> None:
    """Writes some held-out articles with code, reconstruction and reference to samples/step-NUMBER.txt."""
    text: SummaryText = report.data.details
    rows = report.heldout["heldout"]
    some = rows[: min(len(rows), SHOWN)]
    references = [pair.summary for pair in text.validation]
    save_text(
        report,
        f"samples/step-{report.step:07d}.txt",
        "\n".join(_examples(report, networks, some, references)),
    )
    metrics = report.metrics["heldout"]
    if metrics["distinct_codes"] < ALIKE:
        report.log(
            f"collapse: only {metrics['distinct_codes']:.1%} of the codes of held-out articles are different; raise "
            "--objective.reconstruction_weight, or the critic's learning rate is too high."
        )


def report_summaries(report: Report, networks: Networks) -> None:
    """Prints a table of codes and baselines on test articles, what the rewards know of the references, and some codes.

    Writes summaries.json, rewards.json and samples/summaries.txt.
    """
    text: SummaryText = report.data.details
    rows = report.heldout["heldout"] if text.test_rows is None else text.test_rows
    examples = [rows[number] for number in range(len(rows))]
    articles = [pair.article for pair in text.test] or _read_articles(examples, text, networks.writing)
    references = [pair.summary for pair in text.test]
    codes = [text.tokenizer.decode(ids) for ids in _codes(report, networks, rows)]
    length = max(1, round(count_words(codes) / len(codes)))
    texts = {"code": codes, "code of another article": [*codes[1:], codes[0]]}
    texts |= _baselines(articles, references, length)
    ngrams = sentence_ngrams(text)
    table: dict[str, dict[str, Cell]] = {name: {} for name in texts}
    if references:
        scores = {name: rouges(one, references) for name, one in texts.items()}
        table = {name: _against_references(each, scores["code"]) for name, each in scores.items()}
    for name, one in texts.items():
        table[name] |= _measure(report, networks, ngrams, examples, one)
    report.baselines.update(_curve_baselines(text, ngrams, length))
    report.log(f"\n{len(codes)} {'test' if references else 'held-out'} articles, a code beside other texts:")
    report.log("\n".join(_table(table)))
    report.log(
        f"  (first words, window and tf-idf: {length} words, the mean of the codes; the window is the best one for "
        "ROUGE-1,\n   chosen with the reference. ROUGE: F1 without stemming. ahead: by how much the codes' R-1 is "
        "above this one, 95 %\n   confidence interval over the articles. bits: of 3-grams of real sentences, per word. "
        "nats: of the article's\n   tokens, predicted from the text. critic: logit that prefixes are real. copied: "
        "tokens that end four of the\n   article. repeated: tokens that end a repeated pair.)"
    )
    save_json(report, "summaries", table)
    if references:
        report_rewards(report, networks, examples, references)
    lines = _examples(report, networks, rows[: min(len(rows), 2 * SHOWN)], references)
    report.log(
        "\narticles, their codes, references, and reconstructions (each token is the likeliest after the true ones):\n"
    )
    report.log("\n".join(lines))
    save_text(report, "samples/summaries.txt", "\n".join(lines))


def count_words(texts: Sequence[str]) -> int:
    """The number of words of all texts."""
    return sum(len(text.split()) for text in texts)


def sentence_ngrams(text: SummaryText) -> KneserNey:
    """The 3-grams of the sentences of training."""
    counted = leading_documents(text.sentences, COUNTED_TOKENS)
    return KneserNey(counted, ORDER, text.tokenizer.vocab_size, text.tokenizer.special)


# Each of the next functions returns the same object for the same networks, so that it is compiled once.


@functools.cache
def _writer(networks: Networks) -> Callable[[Tree, Extras, Batch], Written]:
    """`(params, extras, batch) -> Written`, the greedy codes of a batch."""

    def write(params: Tree, extras: Extras, batch: Batch) -> Written:
        article, _ = unpaired_rows(batch)
        return write_texts(
            networks.generator, params["generator"], *article, batch["vocab_size"], networks.writing
        )[0]

    return write


@functools.cache
def _rebuilder(networks: Networks) -> Callable[[Tree, Extras, Batch], tuple[Written, jax.Array]]:
    """`(params, extras, batch) -> (codes, tokens [batch, length - 1])`, each the likeliest after the true ones."""

    def rebuild(params: Tree, extras: Extras, batch: Batch) -> tuple[Written, jax.Array]:
        article, _ = unpaired_rows(batch)
        code = _writer(networks)(params, extras, batch)
        log_probs, _ = reconstruction(networks, params["reconstructor"], *code, article)
        return code, argmin(-log_probs)

    return rebuild


def _codes(report: Report, networks: Networks, rows: grain.MapDataset) -> list[list[int]]:
    return word_ids(report.map(_writer(networks), rows), networks.writing)


def _baselines(articles: list[str], references: list[str], length: int) -> dict[str, list[str]]:
    """Texts by name, of the methods without a network, `length` words each."""
    counts = document_counts(articles)
    found = {
        "first words": [first_words(article, length) for article in articles],
        "tf-idf extract": [tf_idf_extract(article, counts, len(articles), length) for article in articles],
    }
    if references:
        pairs = zip(articles, references, strict=True)
        found |= {
            "best window": [best_window(*pair, length) for pair in pairs],
            "another reference": [*references[1:], references[0]],
            "reference": references,
        }
    return found


def _curve_baselines(text: SummaryText, ngrams: KneserNey, length: int) -> dict[str, dict[str, float]]:
    """What the curves along the way are to be compared with: held-out sentences, and the first words of articles."""
    real = [text.heldout_sentences.document(index) for index in range(len(text.heldout_sentences.hashes))]
    words = count_words([text.tokenizer.decode(ids.tolist()) for ids in real])
    found = {"bits_per_word": {"held-out sentences": bits_per_word(ngrams, real, words)}}
    if text.validation:
        first = [first_words(pair.article, length) for pair in text.validation]
        rouge = mean_rouge(first, [pair.summary for pair in text.validation])
        found["unigram_rouge"] = {f"ROUGE-1 of the first {length} words": rouge.rouge_1}
        found["subsequence_rouge"] = {f"ROUGE-L of the first {length} words": rouge.rouge_l}
    return found


def _against_references(scores: Sequence[Rouge], of_codes: Sequence[Rouge]) -> dict[str, Cell]:
    """What a line of the table has with references; `code_ahead` is of ROUGE-1."""
    own, codes = ([score.rouge_1 for score in each] for each in (scores, of_codes))
    return mean_of(scores)._asdict() | {"code_ahead": mean_ahead(codes, own)}


def _measure(
    report: Report,
    networks: Networks,
    ngrams: KneserNey,
    examples: Sequence[Mapping[str, np.ndarray]],
    texts: Sequence[str],
) -> dict[str, Cell]:
    """What a line of the table has without references; without words there are no bits of a word."""
    text: SummaryText = report.data.details
    writing = networks.writing
    ids = [row[: writing.length - 1] for row in text.tokenizer.encode_batch(texts)]
    rows = [{**example, **_as_sentence(row, writing)} for example, row in zip(examples, ids, strict=True)]
    measured = report.map(_judge(networks), grain.MapDataset.source(rows))
    words = count_words(texts)
    bits = bits_per_word(ngrams, ids, words)
    return {
        "words": words / len(texts),
        "bits_per_word": bits if math.isfinite(bits) else None,
        "nats": float(measured.nats.mean()),
        "critic": float(measured.score.mean()),
        "copied": float(measured.copied.mean()),
        "repeated": float(measured.repeated.mean()),
        "distinct": distinct_share(ids),
    }


@functools.cache
def _judge(networks: Networks) -> Callable[[Tree, Extras, Batch], Measured]:
    """`(params, extras, batch) -> Measured` of the sentences of a batch in the place of codes."""

    def judge(params: Tree, extras: Extras, batch: Batch) -> Measured:
        article, text = unpaired_rows(batch)
        scores = networks.critic.apply({"params": params["critic"]}, *text)
        return Measured(
            reconstruction(networks, params["reconstructor"], *text, article)[1],
            mean_over_text(scores, text.present),
            mean_over_text(copied_ngrams(*text, *article, 4), text.present),
            mean_over_text(repeated_ngrams(*text, 2), text.present),
        )

    return judge


def _as_sentence(ids: Sequence[int], writing: Writing) -> dict[str, np.ndarray]:
    """Token ids as the arrays of a sentence in a row."""
    tokens = np.full(writing.length, writing.pad, np.int32)
    tokens[: len(ids) + 1] = [*ids, writing.end]
    return {"sentence": tokens, "sentence_present": np.arange(writing.length) <= len(ids)}


def _table(table: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    formats = {
        "rouge_1": ("R-1", "{:.1%}"),
        "rouge_2": ("R-2", "{:.1%}"),
        "rouge_l": ("R-L", "{:.1%}"),
        "code_ahead": ("code R-1 ahead by", "{:+.1%}"),
        "words": ("words", "{:.1f}"),
        "bits_per_word": ("bits", "{:.1f}"),
        "nats": ("nats", "{:.3f}"),
        "critic": ("critic", "{:.2f}"),
        "copied": ("copied", "{:.0%}"),
        "repeated": ("repeated", "{:.0%}"),
        "distinct": ("distinct", "{:.0%}"),
    }
    shown = {name: form for name, form in formats.items() if name in next(iter(table.values()))}
    rows = [["", *(title for title, _ in shown.values())]]
    rows += [
        [name, *(_shown(line[key], form) for key, (_, form) in shown.items())] for name, line in table.items()
    ]
    return aligned(rows)


def _shown(value: Cell, form: str) -> str:
    """A number, or the two ends of an interval."""
    if value is None:
        return "-"
    return " to ".join(map(form.format, value)) if isinstance(value, tuple) else form.format(value)


def _read_articles(
    examples: Sequence[Mapping[str, np.ndarray]], text: SummaryText, writing: Writing
) -> list[str]:
    """The articles of rows as text, as far as the rows hold them."""
    rows = Written(*(np.stack([one[name] for one in examples]) for name in ("tokens", "present")))
    return [text.tokenizer.decode(ids[1:]) for ids in word_ids(rows, writing)]


def _examples(
    report: Report, networks: Networks, rows: grain.MapDataset, references: Sequence[str]
) -> list[str]:
    """A paragraph for each row: article, code, reconstruction and, if there is one, reference."""
    text: SummaryText = report.data.details
    decode = text.tokenizer.decode
    examples = [rows[number] for number in range(len(rows))]
    codes, rebuilt = report.map(_rebuilder(networks), rows)
    articles = _read_articles(examples, text, networks.writing)
    lines = []
    for number, ids in enumerate(word_ids(codes, networks.writing)):
        there = examples[number]["present"][1:]
        again = readable(rebuilt[number][there], text.tokenizer, {})
        lines += [
            f"--- article {number + 1} ---",
            f"article         {articles[number]}",
            f"code            {decode(ids)}",
            f"reconstruction  {again}",
        ]
        if references:
            lines.append(f"reference       {references[number]}")
        lines.append("")
    return lines
