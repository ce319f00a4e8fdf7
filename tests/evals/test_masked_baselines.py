from collections import Counter

import numpy as np

from ssl_jax.evals.masked_baselines import count_baselines


def test_counts_agree_with_plain_loops(make_corpus):
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

    def commonest(counts: Counter) -> int:
        return min(counts, key=lambda token: (-counts[token], token))

    right = Counter()
    for row, column in np.argwhere(predicted):
        before, token, behind = rows[row, column - 1 : column + 2].tolist()
        by_left = commonest(left.get(before, single))
        right["most_frequent"] += token == commonest(single)
        right["left_bigram"] += token == by_left
        right["two_sided"] += token == (
            commonest(both[before, behind]) if (before, behind) in both else by_left
        )
    expected = {name: right[name] / predicted.sum() for name in ("most_frequent", "left_bigram", "two_sided")}
    assert count_baselines(corpus, rows, predicted) == expected
    assert len(set(expected.values())) == 3
