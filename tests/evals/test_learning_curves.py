"""Curves over checkpoints: which steps are measured, when half is reached, and classes at equal word frequency."""

import numpy as np
import pytest

from ssl_jax.evals.learning_curves import choose_words, half_step, log_spaced, match_frequencies


def test_steps_are_spaced_by_their_logarithms():
    assert log_spaced([500, 1000, 1500, 2000], 3) == [500, 1000, 2000]
    assert log_spaced([100, 110], 9) == [100, 110]
    assert log_spaced(range(1, 1025), 11) == [2**i for i in range(11)]


def test_half_of_the_last_accuracy_is_reached_between_two_steps():
    # A quarter of the way from 0.1 to 0.5, on a logarithmic scale from 100 to 1600, is 200.
    assert half_step([100, 1600], [0.1, 0.4], 100) == round(100 * 16 ** (1 / 3), 0)
    assert half_step([100, 200, 300], [0.3, 0.1, 0.4], 100) == 100  # the first time counts
    assert half_step([100, 200], [0.0, 0.05], 99) is None
    assert half_step([100, 200], [0.0, 0.05], 100) == round(100 * 2**0.5, 0)


def test_classes_get_one_distribution_of_frequency():
    counts = {
        "rare": np.repeat([3, 8, 16], [50, 10, 30]),
        "frequent": np.repeat([9, 20, 300], [40, 20, 60]),
        "elsewhere": np.repeat([5000], 80),
    }
    matching = match_frequencies(counts)
    assert (matching.lowest, matching.highest) == (8, 31)
    assert matching.weights.keys() == {"rare", "frequent"}
    # Of the hundred words of both classes in the two bins, half are in each.
    for name, inside in (("rare", [10, 30]), ("frequent", [40, 20])):
        weights = matching.weights[name]
        shares = [weights[(counts[name] >= low) & (counts[name] < 2 * low)].sum() for low in (8, 16)]
        np.testing.assert_allclose(shares, [0.5, 0.5])
        assert matching.words(name) == sum(inside)
        assert weights.sum() == pytest.approx(1)


def test_most_classes_count_before_most_words():
    both = np.repeat([1, 2], [5, 500])
    counts = {"a": both, "b": both, "c": np.repeat([1], [5]), "never": np.repeat([0], [900])}
    matching = match_frequencies(counts)
    assert (matching.lowest, matching.highest) == (1, 1)
    assert matching.weights.keys() == {"a", "b", "c"}
    assert match_frequencies({"a": np.repeat([1], 9), "b": np.repeat([8], 9)}) is None


def test_words_are_chosen_of_every_class_and_more_of_shared_frequencies():
    names = np.array(["a"] * 500 + ["b"] * 500 + ["few"] * 3, object)
    counts = np.concatenate([np.repeat([1, 40], [450, 50]), np.repeat([40, 900], [30, 470]), np.ones(3, int)])
    chosen, as_they_are = choose_words(names, counts, most=40, least=20)
    assert len({*chosen.tolist()}) == len(chosen)
    assert (names[chosen[as_they_are]] == "a").sum() == 40 == (names[chosen[as_they_are]] == "b").sum()
    added = chosen[~as_they_are]
    assert (counts[added] == 40).all()
    for name in "ab":
        assert 0 < (names[added] == name).sum() <= 20
        assert ((names[chosen] == name) & (counts[chosen] == 40)).sum() >= 20
    empty = np.zeros(0, np.int64)
    assert [len(part) for part in choose_words(empty.astype(object), empty, most=1, least=1)] == [0, 0]
