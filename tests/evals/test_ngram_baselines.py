"""n-gram baselines against plain Python: Kneser-Ney's formula, and loops over the text."""

from collections import Counter

import numpy as np
import pytest

from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.evals.ngram_baselines import (
    InfillingBaseline,
    KneserNey,
    leading_documents,
    masked_token_baselines,
)

SIZE = 14
BOS, EOS = SENTENCEPIECE.cls, SENTENCEPIECE.sep


def random_documents(number: int, seed: int) -> list[list[list[int]]]:
    chance = np.random.default_rng(seed)
    weights = np.random.default_rng(9).dirichlet(np.full(SIZE - 5, 0.4))
    return [[(5 + chance.choice(SIZE - 5, chance.integers(1, 9), p=weights)).tolist()] for _ in range(number)]


class PlainKneserNey:
    """Chen and Goodman 1998, equation 17 of section 2.7 and its recursion, with sets and dictionaries."""

    def __init__(self, documents: list[list[int]], order: int) -> None:
        occurrences = Counter(
            tuple(text[end - order : end])
            for text in ([BOS] * (order - 1) + document + [EOS] for document in documents)
            for end in range(order, len(text) + 1)
        )
        self.counts = {order: occurrences}
        for length in range(order - 1, 0, -1):
            self.counts[length] = Counter(gram[1:] for gram in self.counts[length + 1])

    def probability(self, context: tuple[int, ...], token: int) -> float:
        counts = self.counts[len(context) + 1]
        lower = self.probability(context[1:], token) if context else 1 / SIZE
        after = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == context}
        if not after:
            return lower
        once, twice = (sum(count == n for count in counts.values()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once and twice else 0.5
        total = sum(after.values())
        return max(after.get(token, 0) - discount, 0) / total + discount * len(after) / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_kneser_ney_agrees_with_plain_python(make_corpus, order):
    training, heldout = random_documents(60, seed=0), random_documents(12, seed=1)
    plain = PlainKneserNey([sentence for [sentence] in training], order)
    wanted = []
    for [document] in heldout:
        text = [BOS] * (order - 1) + document + [EOS]
        for end in range(order - 1, len(text)):
            wanted.append(plain.probability(tuple(text[end - order + 1 : end]), text[end]))
    found = KneserNey(make_corpus(training), order, SIZE, SENTENCEPIECE).nats(make_corpus(heldout))
    np.testing.assert_allclose(np.exp(-found), wanted, rtol=1e-10)
    context = tuple(heldout[0][0][: order - 1])
    if len(context) == order - 1:
        assert sum(plain.probability(context, token) for token in range(SIZE)) == pytest.approx(1)


def test_longer_n_grams_predict_a_chain_better(make_corpus):
    chance = np.random.default_rng(0)
    rules = chance.permutation(SIZE - 5)

    def document() -> list[list[int]]:
        text = [int(chance.integers(SIZE - 5))]
        for _ in range(30):
            text.append(int(rules[text[-1]]) if chance.random() < 0.9 else int(chance.integers(SIZE - 5)))
        return [[token + 5 for token in text]]

    training, heldout = (make_corpus([document() for _ in range(n)]) for n in (200, 20))
    one, two = (KneserNey(training, order, SIZE, SENTENCEPIECE).nats(heldout).mean() for order in (1, 2))
    entropy = -(0.9 + 0.1 / 9) * np.log(0.9 + 0.1 / 9) - 8 / 9 * 0.1 * np.log(0.1 / 9)
    assert one > 2
    assert two == pytest.approx(entropy, abs=0.2)


def test_masked_token_baselines_agree_with_plain_loops(make_corpus):
    rng = np.random.default_rng(0)
    documents = [
        [rng.choice(12, rng.integers(1, 15), p=rng.dirichlet(np.ones(12))) + 5 for _ in range(4)]
        for _ in range(80)
    ]
    corpus = make_corpus([[sentence.tolist() for sentence in document] for document in documents])
    rows = np.concatenate([np.full((60, 1), 2), rng.integers(5, 18, (60, 14)), np.full((60, 1), 3)], axis=1)
    predicted = rng.random(rows.shape) < 0.5
    predicted[:, [0, -1]] = False

    single, left, both = Counter(), {}, {}
    for document in documents:
        text = [0, *np.concatenate(document).tolist(), 0]
        for before, token, behind in zip(text, text[1:], text[2:], strict=False):
            single[token] += 1
            left.setdefault(before, Counter())[token] += 1
            both.setdefault((before, behind), Counter())[token] += 1

    def most_frequent(counts: Counter) -> int:
        return min(counts, key=lambda token: (-counts[token], token))

    right = Counter()
    for row, column in np.argwhere(predicted):
        before, token, behind = rows[row, column - 1 : column + 2].tolist()
        by_left = most_frequent(left.get(before, single))
        right["most_frequent"] += token == most_frequent(single)
        right["left_bigram"] += token == by_left
        right["two_sided"] += token == (
            most_frequent(both[before, behind]) if (before, behind) in both else by_left
        )
    expected = {name: right[name] / predicted.sum() for name in ("most_frequent", "left_bigram", "two_sided")}
    assert masked_token_baselines(corpus, rows, predicted) == expected
    assert len(set(expected.values())) == 3


def test_infilling_agrees_with_a_loop_over_the_text():
    rng = np.random.default_rng(0)
    text = rng.integers(1, 12, 400)
    baseline = InfillingBaseline(text, 20)

    def most_frequent(values):
        tally = Counter(values)
        return min(tally, key=lambda value: (-tally[value], value)) if tally else None

    after = {left: most_frequent(text[1:-1][text[:-2] == left]) for left in range(20)}
    expected = [after[left] if after[left] is not None else most_frequent(text) for left in range(20)]
    np.testing.assert_array_equal(baseline.next_tokens(np.arange(20)), expected)

    source, blank = np.array([3, 15, 7, 15, 15, 9]), np.array([0, 1, 0, 1, 1, 0], bool)

    def between(left, right):
        places = (text[:-2] == left) & (text[2:] == right)
        found = most_frequent(text[1:-1][places])
        return expected[left] if found is None else found

    third = expected[7]
    assert baseline.fill(source, blank) == [3, between(3, 7), 7, third, between(third, 9), 9]
    assert baseline.fill(np.array([15]), np.array([True])) == [most_frequent(text)]


def test_leading_documents_have_fewer_tokens_than_asked_for(make_corpus):
    corpus = make_corpus([[[5] * length] for length in (3, 4, 5)])
    for most, lengths in ((1, [3]), (7, [3]), (8, [3, 4]), (100, [3, 4, 5])):
        assert leading_documents(corpus, most).document_lengths.tolist() == lengths
