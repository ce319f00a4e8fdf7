"""What counts as recovered when corrupted text is denoised."""

import numpy as np

from ssl_jax.evals.denoising import edits, recovery


def test_a_row_is_exact_only_as_a_whole_and_hidden_tokens_are_those_that_were_not_shown():
    originals = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]
    shown = [[1, 4], [5, 6], [9]]
    denoised = [[1, 2, 4], [5, 6], [7, 8, 9, 9, 9]]
    metrics = recovery(shown, denoised, originals)
    assert metrics.exact == 1 / 3
    assert metrics.tokens == (3 + 2 + 3) / (4 + 2 + 5)
    assert metrics.hidden == (1 + 0 + 2) / (2 + 0 + 2)
    assert metrics.undone == 1 - (1 + 0 + 2) / (2 + 0 + 2)


def test_order_counts():
    metrics = recovery([[3, 4, 1, 2]], [[3, 4, 1, 2]], [[1, 2, 3, 4]])
    assert metrics == (0, 2 / 4, 0, 0)
    assert recovery([[3, 4, 1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4]]) == (1, 1, 1, 1)


def test_nothing_hidden_is_no_division_by_zero():
    assert recovery([[1, 2]], [[1]], [[1, 2]]) == (0, 1 / 2, 0, -1)


def test_tokens_that_are_written_without_the_text_raise_hidden_alone():
    rng = np.random.default_rng(0)
    originals = [rng.geometric(0.3, 40).tolist() for _ in range(20)]  # the token 1 is the most frequent one
    shown = [[token for place, token in enumerate(row) if place % 5] for row in originals]
    repeated = [[1, 2, 3] * 14 for _ in originals]
    padded = [
        [t for place, token in enumerate(row) for t in ([token] if place % 5 else [1, 2, 3, 1, 2, 3])]
        for row in originals
    ]
    guessed = [[1 if place % 5 == 0 else token for place, token in enumerate(row)] for row in originals]
    for written in (repeated, padded):
        found = recovery(shown, written, originals)
        assert found.hidden > 0.1
        assert found.undone < 0
    assert recovery(shown, guessed, originals).undone > 0.2  # these guesses are at the right places


def test_edits_are_those_of_the_plain_recurrence():
    rng = np.random.default_rng(1)
    for _ in range(20):
        one, other = (rng.integers(0, 4, size).tolist() for size in rng.integers(0, 9, 2))
        table = {(i, 0): i for i in range(len(one) + 1)} | {(0, j): j for j in range(len(other) + 1)}
        for i, a in enumerate(one):
            for j, b in enumerate(other):
                table[i + 1, j + 1] = min(table[i, j + 1] + 1, table[i + 1, j] + 1, table[i, j] + (a != b))
        assert edits(one, other) == table[len(one), len(other)]
