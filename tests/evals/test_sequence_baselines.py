"""Classifiers of sequences without a network, on sequences whose classes follow from one thing alone."""

import numpy as np
import pytest

from ssl_jax.evals import sequence_baselines as baselines
from ssl_jax.evals.sequence_baselines import Sequences, sequence_baselines

CHANCE = np.random.default_rng(0)


def labelled(count, label_of):
    symbols = [CHANCE.choice([*"abcd"], 12).tolist() for _ in range(count)]
    return Sequences(symbols, np.array([label_of(one) for one in symbols]))


def accuracies(label_of):
    parts = [labelled(count, label_of) for count in (240, 60, 100)]
    found = sequence_baselines(*parts)
    return {name: np.mean(of.predictions == parts[2].labels) for name, of in found.items()}, found, parts


def test_a_symbol_at_a_place_is_seen_by_positions_alone():
    accuracy, found, (train, _, tests) = accuracies(lambda one: "abcd".index(one[5]))
    assert accuracy[baselines.POSITION_REGRESSION] > 0.95
    assert accuracy[baselines.NGRAM_REGRESSION] < 0.55
    most = np.bincount(train.labels).argmax()
    assert accuracy[baselines.MAJORITY] == np.mean(tests.labels == most)
    assert found[baselines.KNN].setting.endswith("by same symbols at positions")


def test_a_pair_of_symbols_anywhere_is_seen_by_ngrams_of_at_least_two():
    accuracy, found, _ = accuracies(lambda one: int("ab" in "".join(one)))
    assert accuracy[baselines.NGRAM_REGRESSION] > accuracy[baselines.POSITION_REGRESSION] + 0.1
    assert found[baselines.NGRAM_REGRESSION].setting in ("n up to 2", "n up to 3")


def test_nearest_neighbours_by_the_share_of_equal_positions(monkeypatch):
    monkeypatch.setattr(baselines, "NEIGHBOURS", (1,))
    monkeypatch.setattr(baselines, "NGRAMS", (1,))
    _, found, (train, _, tests) = accuracies(lambda one: "abcd".index(one[5]))
    distances = np.array(
        [[np.mean(np.array(t) != np.array(own)) for own in train.symbols] for t in tests.symbols]
    )
    nearest = distances <= distances.min(1, keepdims=True)
    assert found[baselines.KNN].setting == "1 by same symbols at positions"
    for chosen, own in zip(found[baselines.KNN].predictions, nearest, strict=True):
        assert chosen in train.labels[own]


@pytest.mark.parametrize("longer", ["abcdab", "x"])
def test_sequences_of_other_lengths_and_symbols(longer):
    """A test that is longer than all training sequences, and one with a symbol that they do not have."""
    train = Sequences([[*"ab"], [*"cd"], [*"abb"], [*"cdd"]], np.array([0, 1, 0, 1]))
    found = sequence_baselines(train, train, Sequences([[*longer], [*"cdc"]], np.zeros(2)))
    assert all(len(of.predictions) == 2 for of in found.values())
    assert [of.predictions[1] for name, of in found.items() if name != baselines.MAJORITY] == [1, 1, 1]


def test_symbols_that_occur_once():
    train = Sequences([["a", "x"], ["b", "y"], ["a", "z"]], np.array([0, 1, 0]))
    once = Sequences([["a"], ["b"]], np.array([0, 1]))
    for part in (train, once):
        found = sequence_baselines(part, part, once)
        assert found[baselines.POSITION_REGRESSION].predictions.tolist() == [0, 1]
        assert found[baselines.NGRAM_REGRESSION].setting == "n up to 1"
