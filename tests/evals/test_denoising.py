"""What counts as recovered when corrupted text is denoised."""

from ssl_jax.evals.denoising import recovery


def test_a_row_is_exact_only_as_a_whole_and_hidden_tokens_are_those_that_were_not_shown():
    originals = [[1, 2, 3, 4], [5, 6], [7, 8, 9]]
    shown = [[1, 4], [5, 6], [9]]
    denoised = [[1, 2, 4], [5, 6], [7, 8, 9, 9, 9]]
    metrics = recovery(shown, denoised, originals)
    assert metrics.exact == 1 / 3
    assert metrics.tokens == (3 + 2 + 3) / (4 + 2 + 5)
    assert metrics.hidden == (1 + 0 + 2) / (2 + 0 + 2)


def test_order_counts():
    metrics = recovery([[3, 4, 1, 2]], [[3, 4, 1, 2]], [[1, 2, 3, 4]])
    assert metrics == (0, 2 / 4, 0)
    assert recovery([[3, 4, 1, 2]], [[1, 2, 3, 4]], [[1, 2, 3, 4]]) == (1, 1, 1)


def test_nothing_hidden_is_no_division_by_zero():
    assert recovery([[1, 2]], [[1]], [[1, 2]]) == (0, 1 / 2, 0)
