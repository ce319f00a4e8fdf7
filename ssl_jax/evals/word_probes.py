"""Linear probes of tags on the vectors of words, one for each layer of BERT's encoder."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np

from ssl_jax.data.labelled_text import TaggedWords, split_by_hash
from ssl_jax.data.tokenizers import Tokenizer
from ssl_jax.errors import UserError
from ssl_jax.evals.probes import FIXED_PENALTY, linear_probe
from ssl_jax.evals.whole_word_masking import joined
from ssl_jax.method import Batch, Extras, Tree
from ssl_jax.models.bert import BertConfig
from ssl_jax.models.hidden_states import hidden_states

WORDS_OF_ROW = 4
"""Words of a sentence that are probed, at most, so that the words are of many sentences."""
PENALTIES = (FIXED_PENALTY,)
"""One, because a probe is fitted for every layer and every checkpoint."""

Vectors = Callable[[grain.MapDataset], np.ndarray]
"""What `word_vectors` gives for every row of a data set, in order."""


def word_vectors(config: BertConfig) -> Callable[[Tree, Extras, Batch], jax.Array]:
    """The function that gives the words of a row the mean of the vectors of their pieces, in every layer.

    The result of `(params, extras, batch)` is float32 `[batch, words, layers + 1, width]`; the first layer are the
    embeddings.

    Args:
      config: of the encoder.
    """

    def vectors(params: Tree, extras: Extras, batch: Batch) -> jax.Array:
        outputs = hidden_states(
            config, params["encoder"], batch["tokens"], batch["token_type_ids"], batch["segment_ids"]
        )
        place = jnp.arange(outputs.shape[2])[None, None]
        start, stop = batch["starts"][..., None], batch["stops"][..., None]
        inside = ((place >= start) & (place < stop)).astype(jnp.float32)  # [batch, words, length]
        means = inside / jnp.maximum(inside.sum(-1, keepdims=True), 1)
        return jnp.einsum("bwt,lbtd->bwld", means, outputs.astype(jnp.float32))

    return vectors


class ProbedWords:
    """Words of tagged sentences whose tags are predicted from their vectors.

    Sentences are divided into training and test by a hash of their words. Words without pieces, and those that are
    beyond the end of a row, are left out; so are words tagged O, unless the tags are those of entities (B-..., I-...),
    where O is a tag like the others.

    Args:
      name: of the tags.
      sentences: with tags.
      tokenizer: of the model.
      length: tokens of a row.
      sentences_used: most sentences; a choice by chance, which is the same for all models.

    Attributes:
      baseline: accuracy of the most frequent tag of each word in the training sentences; of words that are not there,
        the most frequent tag of all.
      tags: number of different ones.
      training, tests: numbers of words.

    Raises:
      UserError: no sentence can be trained or tested on.
    """

    def __init__(
        self,
        name: str,
        sentences: Sequence[TaggedWords],
        tokenizer: Tokenizer,
        length: int,
        sentences_used: int,
    ):
        rng = np.random.default_rng(0)
        entities = any(tag.startswith(("B-", "I-")) for sentence in sentences for tag in sentence.tags or ())
        left_out = () if entities else ("O",)
        distinct = list({sentence.words: sentence for sentence in sentences}.values())
        chosen = [distinct[i] for i in np.sort(rng.permutation(len(distinct))[:sentences_used])]
        parts = split_by_hash(chosen, 0.3)
        self.name, rows, words, tags, tests = name, [], [], [], []
        for part, is_test in zip(parts, (False, True), strict=True):
            for sentence in part:
                row, kept = _row(sentence, left_out, tokenizer, length, rng)
                rows.append(row)
                words += [sentence.words[i].lower() for i in kept]
                tags += [sentence.tags[i] for i in kept]
                tests += [is_test] * len(kept)
        names = sorted({*tags})
        self._rows = rows
        self._labels = np.array([names.index(tag) for tag in tags], np.int64)
        self._test = np.array(tests, bool)
        if len({*self._labels[~self._test].tolist()}) < 2 or not self._test.any():
            raise UserError(
                f"probe {name}: its training words have fewer than two tags, or no word is left to test on; expected "
                "sentences with words of different tags, within the first tokens of a row."
            )
        self.tags, self.training, self.tests = len(names), int((~self._test).sum()), int(self._test.sum())
        self.baseline = self._most_frequent(words)

    def accuracies(self, vectors: Vectors) -> list[float]:
        """The share of the test words whose tag is right, for every layer; the first are the embeddings.

        Args:
          vectors: of a model.
        """
        found = vectors(grain.MapDataset.source(self._rows))
        real = np.stack([row["stops"] > 0 for row in self._rows])
        features = found[real]  # [words, layers + 1, width]
        train, test = features[~self._test], features[self._test]
        labels = self._labels[~self._test], self._labels[self._test]
        return [
            linear_probe(train[:, layer], labels[0], test[:, layer], labels[1], penalties=PENALTIES).accuracy
            for layer in range(features.shape[1])
        ]

    def _most_frequent(self, words: Sequence[str]) -> float:
        of_word: dict[str, Counter[int]] = defaultdict(Counter)
        of_all: Counter[int] = Counter()
        pairs = list(zip(words, self._labels.tolist(), self._test.tolist(), strict=True))
        for word, label, is_test in pairs:
            if not is_test:
                of_word[word][label] += 1
                of_all[label] += 1
        right = [
            label == of_word.get(word, of_all).most_common(1)[0][0]
            for word, label, is_test in pairs
            if is_test
        ]
        return float(np.mean(right))


def _row(
    sentence: TaggedWords,
    left_out: Sequence[str],
    tokenizer: Tokenizer,
    length: int,
    rng: np.random.Generator,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """A row `[CLS] sentence [SEP]` with the pieces of some of its words, and the numbers of these words."""
    [text], places = joined([sentence.words])
    encoded = tokenizer.encode_with_offsets([text])[0]
    ids = np.array(encoded.ids[: length - 2], np.int32)
    offsets, spans = encoded.offsets[: length - 2], []
    for number, (_, start, stop) in enumerate(places.tolist()):
        inside = np.flatnonzero((offsets[:, 0] < stop) & (offsets[:, 1] > start))
        if len(inside) and offsets[inside, 1].max() >= stop and sentence.tags[number] not in left_out:
            spans.append((number, 1 + inside[0], 2 + inside[-1]))
    chosen = [spans[i] for i in np.sort(rng.permutation(len(spans))[:WORDS_OF_ROW])]
    special = tokenizer.special
    tokens = np.full(length, special.pad, np.int32)
    tokens[: len(ids) + 2] = [special.cls, *ids, special.sep]
    starts, stops = np.zeros((2, WORDS_OF_ROW), np.int32)
    starts[: len(chosen)] = [start for _, start, _ in chosen]
    stops[: len(chosen)] = [stop for _, _, stop in chosen]
    segment_ids = (np.arange(length) < len(ids) + 2).astype(np.int32)
    arrays = {"tokens": tokens, "segment_ids": segment_ids, "token_type_ids": np.zeros_like(segment_ids)}
    return {**arrays, "starts": starts, "stops": stops}, [number for number, _, _ in chosen]
