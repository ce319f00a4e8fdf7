"""Held-out words that are predicted by the words around them: by CBOW, by counts of neighbours, and by a BERT."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.cbow_rows import Sampling, kept_shares, noise_distribution
from ssl_jax.data.cbow_text import CbowText
from ssl_jax.data.corpus import TokenizedCorpus
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.evals.ngram_baselines import leading_documents, masked_token_baselines
from ssl_jax.evals.whole_word_masking import WholeWords
from ssl_jax.method import Batch, Tree
from ssl_jax.runs.masked_language_models import MaskedLanguageModel
from ssl_jax.training.experiment import Report

BLANKS = 5_000
"""Words that are predicted, at least; all of the sentences that they are from."""
COUNTED_WORDS = 20_000_000
"""Words of the training text that the baselines are counted in, at most."""

Contexts = Callable[[Tree, Tree, Batch], jax.Array]
"""As `ssl_jax.methods.cbow.Cbow.contexts`."""


class Blanks(NamedTuple):
    """Words of held-out sentences.

    Attributes:
      sentences: the text.
      tokens: int32 `[sentences, length]`, the known words of each sentence; 0 after its end.
      places: int64 `[sentences, length, 2]`, where each of them starts and stops in the sentence, in characters.
      chosen: bool `[sentences, length]`, the words to predict: those with a known word on both sides, which the counts
        need.
    """

    sentences: list[str]
    tokens: np.ndarray
    places: np.ndarray
    chosen: np.ndarray


def find_blanks(sentences: Iterable[str], tokenizer: Tokenizer, length: int) -> Blanks:
    """The words of the first sentences, `BLANKS` or a few more if there are as many.

    Args:
      sentences: held-out text.
      tokenizer: of the words.
      length: known words of a sentence; the rest is cut off.
    """
    texts, tokens, places, count = [], [], [], 0
    for sentence in sentences:
        one = tokenizer.encode_with_offsets([sentence])[0]
        known = np.flatnonzero(np.array(one.ids, np.int64) >= tokenizer.special.first_regular)[:length]
        if len(known) < 3:
            continue
        texts.append(sentence)
        row, place = np.zeros(length, np.int32), np.zeros((length, 2), np.int64)
        row[: len(known)], place[: len(known)] = np.array(one.ids)[known], one.offsets[known]
        tokens.append(row)
        places.append(place)
        count += len(known) - 2
        if count >= BLANKS:
            break
    rows = np.array(tokens, np.int32).reshape(-1, length)
    chosen = np.zeros(rows.shape, bool)
    chosen[:, 1:-1] = rows[:, 2:] > 0
    return Blanks(texts, rows, np.array(places, np.int64).reshape(-1, length, 2), chosen)


def middle_word_accuracy(
    report: Report,
    text: CbowText,
    contexts: Contexts,
    *,
    sampling: Sampling,
    length: int,
    bert: MaskedLanguageModel | None,
) -> dict[str, float]:
    """The share of the blanks that each model fills with the right word, by name, and the number of blanks.

    Args:
      report: of the run.
      text: its corpus.
      contexts: the mean vector around each word.
      sampling: how words were chosen in training. The model has learnt how probable a word is among those that are
        kept, and with noise words how much more probable it is than as a noise word; both are corrected.
      length: words of a row.
      bert: a BERT that fills the same blanks, in the whole sentence; only blanks that it can fill count then. None for
        no BERT.
    """
    blanks = find_blanks(text.heldout_sentences(), text.tokenizer, length)
    chosen, by_bert = blanks.chosen, None
    if bert is not None:
        rows, columns = np.nonzero(chosen)
        places = np.column_stack([rows, blanks.places[rows, columns]])
        words = WholeWords(blanks.sentences, places, bert.tokenizer, bert.length)
        ranks = words.ranks(bert.compute(bert.run.restore()))
        chosen = chosen.copy()
        chosen[rows, columns] = words.scored
        by_bert = ranks[words.scored] == 0
    if not chosen.any():
        return {}
    first = text.tokenizer.special.first_regular
    counted = known_words(leading_documents(text.training_corpus, COUNTED_WORDS), first)
    found = masked_token_baselines(counted, blanks.tokens, chosen)
    guesses = report.map(
        _guess(text, contexts, sampling), grain.MapDataset.source(_Rows(blanks, sampling.window))
    )
    found["cbow"] = float(np.mean(guesses[chosen] == blanks.tokens[chosen]))
    if by_bert is not None:
        found["bert"] = float(np.mean(by_bert))
    return {**found, "blanks": int(chosen.sum())}


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


def _guess(
    text: CbowText, contexts: Contexts, sampling: Sampling
) -> Callable[[Tree, Tree, Batch], jax.Array]:
    """The most probable word at every place, int32 `[batch, length]`."""
    known = text.counts > 0
    share = 1 / kept_shares(text.counts, sampling.subsample)
    if sampling.negatives:
        share = share * noise_distribution(text.counts)
    prior = np.log(share, where=known, out=np.full(len(share), -np.inf)).astype(np.float32)

    def guess(params: Tree, extras: Tree, batch: Batch) -> jax.Array:
        logits = contexts(params, extras, batch) @ params["output"]["embedding"].T + prior[None, None]
        return jnp.argmax(logits, -1).astype(jnp.int32)

    return guess


class _Rows:
    """The sentences of blanks as rows for the model, with the largest window everywhere."""

    def __init__(self, blanks: Blanks, window: int):
        self._tokens, self._window = blanks.tokens, window

    def __len__(self) -> int:
        return len(self._tokens)

    def __getitem__(self, row: int) -> dict[str, np.ndarray]:
        tokens = self._tokens[row]
        return {
            "tokens": tokens,
            "segment_ids": (tokens > 0).astype(np.int32),
            "window": np.full(len(tokens), self._window, np.int32),
        }
