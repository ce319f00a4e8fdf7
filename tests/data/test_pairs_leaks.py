"""Does anything but the order of what is said tell the label?

The corpus is made up so that nothing else can: each document has its own mix of words, its sentences are drawn
independently, and (for NSP) its first and last sentences are unlike the others, as titles and endings are.
A classifier that beats chance there has found a flaw of the construction. Deliberately flawed ones show that it would.
"""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from ssl_jax.data.pairs import SegmentPairs, _Runs
from ssl_jax.data.prepared.pairs import PreparedPairs
from ssl_jax.data.prepared.shards import count_buckets, document_groups, length_buckets
from ssl_jax.data.tokenizers import SENTENCEPIECE

BEGINS, ENDS, TITLE, CLOSING, WORDS, VOCABULARY = 5, 6, 7, 8, 10, 70
EXAMPLES = 12_000
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def made_up_corpus(make_corpus, titles: bool, seed: int):
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(600):
        topic = rng.dirichlet(np.full(VOCABULARY - WORDS, 0.3))
        typical = 12 if titles else rng.uniform(4, 22)  # a style that both segments share would tell NSP
        sentences = []
        for _ in range(rng.integers(2, 30)):
            words = rng.choice(VOCABULARY - WORDS, rng.geometric(1 / typical), p=topic) + WORDS
            sentences.append([BEGINS, *words.tolist(), ENDS])
        if titles:
            sentences[0] = [BEGINS, TITLE, TITLE, ENDS]
            sentences[-1] += [CLOSING, ENDS]
        documents.append(sentences)
    return make_corpus(documents)


class Examples:
    """Of two corpora: a classifier is fitted on one and tested on the other, as it may learn texts by heart."""

    def __init__(self, corpora, objective: str, kind: type[SegmentPairs] = SegmentPairs, length: int = 64):
        made, rng = [], np.random.default_rng(1)
        for corpus in corpora:
            pairs = kind(corpus, length, SENTENCEPIECE, np.ones(VOCABULARY, bool), objective)
            rows = rng.integers(len(pairs), size=EXAMPLES // 2)
            made += [pairs.stack(some, rng.spawn(len(some))) for some in np.array_split(rows, 20)]
        self.tokens, self.token_type_ids, self.labels = (
            np.concatenate([examples[key] for examples in made])
            for key in ("tokens", "token_type_ids", "label")
        )
        self.first, self.second = bags(self.tokens, self.token_type_ids)
        self.shape = shape_features(self.tokens, self.token_type_ids)

    def advantage(self, features: np.ndarray) -> float:
        """Accuracy above chance on the second corpus, in standard deviations of guessing."""
        half = len(self.labels) // 2
        features = StandardScaler().fit_transform(features)
        model = LogisticRegression(C=0.1, max_iter=200).fit(features[:half], self.labels[:half])
        return (model.score(features[half:], self.labels[half:]) - 0.5) / np.sqrt(0.25 / half)


def shape_features(tokens: np.ndarray, token_type_ids: np.ndarray) -> np.ndarray:
    """Lengths of the row, of both segments and of the sentences at their edges; the kinds of the edge tokens."""
    rows = []
    for row, second in zip(tokens, token_type_ids, strict=True):
        separators = np.flatnonzero(row == SENTENCEPIECE.sep)
        a, b = row[1 : separators[0]], row[separators[0] + 1 : separators[1]]
        lengths = [len(a), len(b), len(a) + len(b), abs(len(a) - len(b)), int(second.sum()), len(a) * len(b)]
        for segment in (a, b):
            ends = np.flatnonzero(segment == ENDS)
            outer = (ends[0], len(segment) - (ends[-2] if len(ends) > 1 else 0)) if len(ends) else (99, 99)
            lengths += [len(ends), *outer]
        edges = [segment[place] == kind for segment in (a, b) for place in (0, -1) for kind in (BEGINS, ENDS)]
        has = [kind in segment for segment in (a, b) for kind in (TITLE, CLOSING)]
        both = [edges[i] * edges[j] for i in range(8) for j in range(i)]
        rows.append([*lengths, *edges, *both, *has])
    return np.array(rows, float)


def bags(tokens: np.ndarray, token_type_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts of every word in either segment."""
    both = np.zeros((2, len(tokens), VOCABULARY))
    rows, columns = np.nonzero(tokens >= SENTENCEPIECE.first_regular)
    np.add.at(both, (token_type_ids[rows, columns], rows, tokens[rows, columns]), 1)
    return both[0], both[1]


CHANCE = 3.5  # standard deviations; the seeds are fixed, so a pass stays a pass


@pytest.fixture(scope="module")
def corpora(make_corpus):
    """Two for each objective. Titles tell the order of sentences, so SOP has none."""
    return {
        objective: [made_up_corpus(make_corpus, objective == "nsp", seed) for seed in (0, 1)]
        for objective in ("nsp", "sop")
    }


def test_nsp_is_told_by_nothing_but_both_segments_together(corpora):
    made = Examples(corpora["nsp"], "nsp")
    assert made.advantage(made.shape) < CHANCE
    assert made.advantage(made.first) < CHANCE
    assert made.advantage(made.second) < CHANCE
    assert made.advantage(np.abs(made.first - made.second)) > 10  # which is what there is to learn


def test_sop_is_told_by_nothing(corpora):
    made = Examples(corpora["sop"], "sop")
    assert made.advantage(made.shape) < CHANCE
    assert made.advantage(made.second - made.first) < CHANCE
    assert made.advantage(np.concatenate([made.first, made.second], axis=1)) < CHANCE


class AnyStart(SegmentPairs):
    """The random B begins at any sentence, a title too, and is cut where the true B is full (google-research/bert)."""

    def _equally_long(self, documents, true, limit, rngs):
        sentences = np.array([rng.integers(len(self._offsets) - 1) for rng in rngs])
        start = np.minimum(self._offsets[sentences], len(self._tokens) - true.length)
        return _Runs(start, start + true.length, true.cut)


class AnyLength(SegmentPairs):
    """The random B has the length that its own document gives it."""

    def _next_sentence(self, rows, rngs):
        before, after, label = super()._next_sentence(rows, rngs)
        return before, after._replace(end=np.maximum(after.end - 7 * label, after.start + 1)), label


class CutInFront(SegmentPairs):
    """A is cut in front, to fill the row."""

    def _before(self, junctions, first, limit, rngs):
        ends = self._offsets[junctions]
        return _Runs(np.maximum(ends - limit, self._offsets[first]), ends, np.ones(len(ends), bool))


class Greedy(SegmentPairs):
    """SOP over greedy chunks: each begins with the sentence that did not fit into the one before."""

    def _sentence_order(self, rows, rngs):
        first, second, label = super()._sentence_order(rows, rngs)
        for i, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
            document = int(np.searchsorted(self._rows, row, side="right")) - 1
            chunks, start = [], int(self._first[document])
            for sentence in range(start + 1, int(self._end[document]) + 1):
                if self._offsets[sentence] - self._offsets[start] > self._length - 3:
                    chunks.append((start, sentence - 1))
                    start = sentence - 1
            chunks = [chunk for chunk in chunks if chunk[1] - chunk[0] > 1]
            if not chunks:
                continue
            start, end = chunks[int(rng.integers(len(chunks)))]
            middle, label[i] = int(rng.integers(start + 1, end)), rng.integers(2)
            a, b = (second, first) if label[i] else (first, second)
            a.start[i], a.end[i], b.start[i], b.end[i] = self._offsets[[start, middle, middle, end]]
        return first, second, label


@pytest.mark.parametrize(
    ("objective", "flawed"), [("nsp", AnyStart), ("nsp", AnyLength), ("sop", CutInFront), ("sop", Greedy)]
)
def test_the_classifier_finds_deliberate_leaks(corpora, objective, flawed):
    made = Examples(corpora[objective], objective, flawed)
    assert made.advantage(made.shape) > 2 * CHANCE


def prepared(corpus, length, special, starts_word, objective) -> PreparedPairs:
    """The documents of a corpus as a prepared shard has them."""
    corpus = corpus.select(np.argsort(length_buckets(corpus.document_lengths), kind="stable"))
    records = list(document_groups(corpus))
    shards = [{"buckets": count_buckets(corpus)}]
    return PreparedPairs(records, shards, np.int32, length, special, starts_word, objective)


def test_nsp_of_prepared_documents_is_told_by_nothing_but_both_segments_together(corpora):
    made = Examples(corpora["nsp"], "nsp", prepared)
    assert made.advantage(made.shape) < CHANCE
    assert made.advantage(made.first) < CHANCE
    assert made.advantage(made.second) < CHANCE
    assert made.advantage(np.abs(made.first - made.second)) > 10
