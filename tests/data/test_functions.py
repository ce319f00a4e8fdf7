"""Functions by hash into splits, sequences to the letter, and the ideal learner against an enumeration of its own."""

import itertools
from collections import Counter
from fractions import Fraction

import grain
import numpy as np
import pytest

from ssl_jax.data.functions import (
    BOS,
    FIRST_SYMBOL,
    PAD,
    FunctionSequences,
    Rearrangements,
    Substitutions,
    ideal_by_enumeration,
    read_pairs,
    shown_before,
    split_of,
)
from ssl_jax.errors import UserError

SPLITS = ("train", "validation", "test")
WORDS = Rearrangements(6, 3)
LETTERS = Substitutions(5)


def sequences(split, count=40, families=(LETTERS, WORDS), length=41):
    make = FunctionSequences(families, length, split)
    return make, list(grain.MapDataset.range(count).seed(3).random_map(make))


def function_of(family, inputs, outputs):
    """The places that a rearrangement takes its letters from, read off one example."""
    return tuple(int(np.flatnonzero(inputs[0] == letter)[0]) for letter in outputs[0])


def test_no_function_is_in_two_splits():
    all_functions = list(itertools.product(range(3), repeat=3))
    parts = Counter(split_of(WORDS, np.array(f)) for f in all_functions)
    assert set(parts) == set(SPLITS)
    found = {}
    for split in SPLITS:
        make, rows = sequences(split, 200, (WORDS,))
        pairs = (read_pairs(WORDS, make.pairs[0], row["tokens"]) for row in rows)
        found[split] = {function_of(WORDS, *pair) for pair in pairs}
        assert found[split] == {f for f in all_functions if split_of(WORDS, np.array(f)) == split}
    assert not found["train"] & (found["validation"] | found["test"])
    assert not found["validation"] & found["test"]


def test_the_share_of_each_split():
    rng = np.random.default_rng(0)
    parts = Counter(split_of(LETTERS, Substitutions(16).functions(rng)) for _ in range(4000))
    for split, share in {"train": 0.7, "validation": 0.15, "test": 0.15}.items():
        assert parts[split] / 4000 == pytest.approx(share, abs=0.025)


def test_a_sequence_to_the_letter():
    class Doubling(Rearrangements):
        def inputs(self, pairs, rng):
            return np.array([[0, 1], [2, 0], [1, 2]])[:pairs]

        def functions(self, rng):
            return np.array([1, 1])

    family = Doubling(3, 2)
    make = FunctionSequences((family,), 11, split_of(family, np.array([1, 1])))
    row = make(0, np.random.default_rng(0))
    a, b, c = FIRST_SYMBOL, FIRST_SYMBOL + 1, FIRST_SYMBOL + 2
    assert row["tokens"].tolist() == [BOS, a, b, b, b, c, a, a, a, PAD, PAD]
    assert row["answers"].tolist() == [0, 0, 0, 1, 1, 0, 0, 2, 2, 0, 0]
    assert (row["label"], make.vocab_size) == (0, FIRST_SYMBOL + 3)
    ideal = make.with_ideal(row)
    assert ideal["ideal"].tolist() == [0.25, 1.0]
    assert ideal["shown"].tolist() == [0, 0]


def test_sequences_are_functions_of_seed_and_index():
    _, rows = sequences("train", 6)
    _, again = sequences("train", 6)
    for row, same in zip(rows, again, strict=True):
        assert row["tokens"].tolist() == same["tokens"].tolist()
    assert len({row["tokens"].tobytes() for row in rows}) == len(rows)
    assert {int(row["label"]) for row in sequences("train")[1]} == {0, 1}


@pytest.mark.parametrize("split", SPLITS)
def test_answers_follow_from_one_function(split):
    make, rows = sequences(split)
    for row in rows:
        family, pairs = make.families[row["label"]], make.pairs[row["label"]]
        inputs, outputs = read_pairs(family, pairs, row["tokens"])
        if family is LETTERS:
            values = dict(zip(inputs[:, 0], outputs[:, 0], strict=True))
            assert len(set(values.values())) == len(values)
            assert all(values[x] == y for [x], [y] in zip(inputs, outputs, strict=True))
        else:
            assert (outputs == inputs[:, list(function_of(family, inputs, outputs))]).all()
            assert all(len(set(word)) == len(word) for word in inputs.tolist())


def test_half_of_the_queries_were_shown():
    rng = np.random.default_rng(0)
    shown = np.stack([shown_before(Substitutions(30).inputs(12, rng)) for _ in range(2000)])
    assert not shown[:, 0].any()
    np.testing.assert_allclose(shown[:, 1:].mean(0), 0.5, atol=0.05)
    small = np.stack([shown_before(LETTERS.inputs(40, rng)) for _ in range(50)])
    assert ((~small).sum(1) == 5).all()  # every symbol is new once


def enumerated(family, functions, inputs, outputs):
    """The best learner's chance at each pair, in fractions: the largest posterior probability of an answer."""
    chances = []
    for pair in range(len(inputs)):
        consistent = [
            f
            for f in functions
            if all((family.apply(f, inputs[j : j + 1]) == outputs[j]).all() for j in range(pair))
        ]
        answers = Counter(tuple(family.apply(f, inputs[pair : pair + 1])[0].tolist()) for f in consistent)
        chances.append(Fraction(max(answers.values()), len(consistent)))
    return [float(chance) for chance in chances]


@pytest.mark.parametrize("family", [LETTERS, Substitutions(3), WORDS], ids=["five", "three", "words"])
def test_the_ideal_learner_by_enumeration(family):
    if isinstance(family, Rearrangements):
        functions = [np.array(f) for f in itertools.product(range(3), repeat=3)]
    else:
        functions = [np.array(f) for f in itertools.permutations(range(family.symbols))]
    rng = np.random.default_rng(1)
    for _ in range(10):
        inputs = family.inputs(7, rng)
        outputs = family.apply(family.functions(rng), inputs)
        wanted = enumerated(family, functions, inputs, outputs)
        np.testing.assert_allclose(family.ideal(inputs, outputs), wanted)
        np.testing.assert_allclose(ideal_by_enumeration(family, np.array(functions), inputs, outputs), wanted)


def test_repeated_letters_leave_a_choice():
    """`aab => aab` may be three or more functions; the second example decides."""
    inputs, outputs = np.array([[0, 0, 1], [2, 3, 4]]), np.array([[0, 0, 1], [2, 3, 4]])
    np.testing.assert_allclose(WORDS.ideal(inputs, outputs)[1], 1 / 4)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (
            lambda: FunctionSequences((WORDS,), 12, "train"),
            "length 12: too short .* rearrangement; give at least 13",
        ),
        (lambda: Rearrangements(3, 4), "4 distinct letters"),
    ],
)
def test_sizes_that_do_not_fit(make, named):
    with pytest.raises(UserError, match=named):
        make()
