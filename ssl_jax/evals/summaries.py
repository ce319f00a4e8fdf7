"""Baselines of summaries, and metrics of a set of summaries that need no reference."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.evals.ngram_baselines import KneserNey
from ssl_jax.evals.rouge import rouge, rouge_words

ALIKE = 0.1
"""A share of distinct summaries below which they count as collapsed."""


def first_words(article: str, count: int) -> str:
    """The first words of an article (LEAD)."""
    return " ".join(article.split()[:count])


def best_window(article: str, reference: str, count: int) -> str:
    """The words in a row of an article with the highest ROUGE-1: a bound for extracts, since it knows the reference."""
    words = article.split()
    windows = [" ".join(words[i : i + count]) for i in range(max(1, len(words) - count + 1))]
    return max(windows, key=lambda window: rouge(window, reference).rouge_1)


def tf_idf_extract(article: str, documents: Counter[str], total: int, count: int) -> str:
    """The words of an article with the highest tf-idf, in their order.

    Args:
      article: its text.
      documents: in how many documents each word occurs.
      total: number of these documents.
      count: words of the extract.
    """
    words = article.split()
    keys = [" ".join(rouge_words(word)) for word in words]
    often = Counter(keys)
    weights = [often[key] * math.log((1 + total) / (1 + documents[key])) if key else -1.0 for key in keys]
    first = {key: place for place, key in reversed(list(enumerate(keys)))}  # a word is taken once
    places = sorted(first.values(), key=lambda place: -weights[place])[:count]
    return " ".join(words[place] for place in sorted(places))


def document_counts(articles: Sequence[str]) -> Counter[str]:
    """In how many articles each word occurs."""
    return Counter(word for article in articles for word in set(rouge_words(article)))


def distinct_share(summaries: Sequence[Sequence[int]]) -> float:
    """How many different summaries there are, as a share of all; near 0 after a collapse.

    Example:
      >>> distinct_share([(5, 6), (5, 6), (7,), (8,)])
      0.75
    """
    return len({tuple(map(int, summary)) for summary in summaries}) / max(len(summaries), 1)


def bits_per_word(ngrams: KneserNey, texts: Sequence[Sequence[int]], words: int) -> float:
    """How unexpected texts are to n-grams of real sentences: bits of all tokens and ends of texts, per word.

    Args:
      ngrams: counted in real sentences.
      texts: token ids of each text; empty texts are left out.
      words: number of words of all texts.
    """
    rows = [np.asarray(text, np.int64) for text in texts if len(text)]
    if not rows or not words:
        return math.nan
    return float(ngrams.nats(_corpus(rows)).sum() / math.log(2) / words)


def _corpus(rows: Sequence[np.ndarray]) -> TokenizedCorpus:
    """Texts of one sentence each, as a corpus; without their bytes, which nobody asks for here."""
    places = np.arange(len(rows), dtype=np.int64)
    return TokenizedCorpus(
        name="texts",
        fingerprint="",
        tokens=np.concatenate(rows),
        sentence_offsets=np.concatenate([[0], np.cumsum([len(row) for row in rows])]),
        first_sentence=places,
        end_sentence=places + 1,
        hashes=np.zeros(len(rows), np.uint64),
        text_bytes=np.zeros(len(rows), np.int64),
        source_index=places,
    )
