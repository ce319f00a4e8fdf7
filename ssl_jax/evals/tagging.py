"""Metrics of tagged words, and a tagger without a network.

Tags are int `[words]`, of the words of all sentences.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from ssl_jax.evals.entities import entity_scores_of_ids
from ssl_jax.evals.label_metrics import accuracy, macro_f1


def mark_entities(tags: Sequence[str]) -> bool:
    """Whether tags are those of entities, such as B-LOC and O, rather than parts of speech."""
    return any(tag.startswith(("B-", "I-")) for tag in tags)


def tag_metrics(
    labels: np.ndarray, predictions: np.ndarray, lengths: np.ndarray, tags: Sequence[str]
) -> dict[str, float]:
    """Precision, recall and F1 of entities (see `entities`), or accuracy and mean F1 of other tags.

    Args:
      labels, predictions: of the words of all sentences; words with a label of -1 do not count.
      lengths: words of each sentence, int `[sentences]`.
      tags: their names.
    """
    if mark_entities(tags):
        total, _ = entity_scores_of_ids(labels, predictions, lengths, tags)
        return {"entity_precision": total.precision, "entity_recall": total.recall, "entity_f1": total.f1}
    known = labels >= 0
    return {
        "word_accuracy": accuracy(labels[known], predictions[known]),
        "macro_f1": macro_f1(labels[known], predictions[known]),
    }


def most_frequent_tags(words: Sequence[str], tags: np.ndarray, tests: Sequence[str]) -> np.ndarray:
    """For every test the tag that its word has most often in the training data; of new words, the commonest of all.

    Args:
      words: of the training data.
      tags: of these.
      tests: words to tag.
    """
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for word, tag in zip(words, tags.tolist(), strict=True):
        counts[word][tag] += 1
    best = {word: of_word.most_common(1)[0][0] for word, of_word in counts.items()}
    commonest = int(np.bincount(tags).argmax())
    return np.array([best.get(word, commonest) for word in tests], np.int64)
