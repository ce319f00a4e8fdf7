"""Kneser-Ney n-grams against the formula in plain Python."""

from collections import Counter

import numpy as np
import pytest

from ssl_jax.data.tokenizers import SENTENCEPIECE
from ssl_jax.evals.ngrams import NGrams

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
    found = NGrams(make_corpus(training), order, SIZE, SENTENCEPIECE).nats(make_corpus(heldout))
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
    one, two = (NGrams(training, order, SIZE, SENTENCEPIECE).nats(heldout).mean() for order in (1, 2))
    entropy = -(0.9 + 0.1 / 9) * np.log(0.9 + 0.1 / 9) - 8 / 9 * 0.1 * np.log(0.1 / 9)
    assert one > 2
    assert two == pytest.approx(entropy, abs=0.2)
